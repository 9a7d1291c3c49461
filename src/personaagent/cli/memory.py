"""`personaagent memory`: what is remembered of a user, and what the user states."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from .context import Json, OptionalUserId, UserId, open_home, print_result

if TYPE_CHECKING:
    from ..data.persona import PersonaVersion

app = typer.Typer(help="Search, list, forget and rebuild memory; tell what a user states.", no_args_is_help=True)


@app.command()
def search(
    context: typer.Context,
    user: UserId,
    query: Annotated[str, typer.Argument(help="What to look for.")],
    k: Annotated[int, typer.Option(help="How many episodes at most.", min=1)] = 4,
    as_json: Json = False,
) -> None:
    """Find the interactions nearest in meaning to QUERY."""
    with open_home(context) as home:
        episodes = home.store.user(user).memory.recall(query, k)
    found = ((episode.similarity, episode.interaction) for episode in episodes)
    lines = (f"{like:.2f}  {each.interaction_id}  {each.ground_truth}  {each.query}" for like, each in found)
    print_result(episodes, lines, as_json=as_json)


@app.command("list")
def list_(context: typer.Context, user: UserId, as_json: Json = False) -> None:
    """List a user's interactions, oldest first, and the current statements about the user."""
    with open_home(context) as home:
        stored = home.store.user(user)
        interactions, statements = stored.interactions.all(), stored.memory.statements()
    lines = [f"{each.interaction_id}  {_date(each.at)}  {each.ground_truth}  {each.query}" for each in interactions]
    lines += [f"* {statement.text} ({len(statement.evidence)} interactions)" for statement in statements]
    print_result({"interactions": interactions, "statements": statements}, lines, as_json=as_json)


@app.command()
def forget(
    context: typer.Context,
    user: UserId,
    interaction_id: Annotated[str, typer.Argument(help="Which interaction (see `memory list`).")],
    as_json: Json = False,
) -> None:
    """Remove one interaction from the store and the index, and from the persona what only it caused."""
    with open_home(context) as home:
        version = home.forget(home.store.user(user), interaction_id)
    result = {"interaction_id": interaction_id, "version": version}
    print_result(result, [f"forgot {interaction_id}" + _live(version)], as_json=as_json)


@app.command()
def tell(
    context: typer.Context,
    user: UserId,
    text: Annotated[str, typer.Argument(help="What the user states, in one line: 'I am vegetarian'.")],
    replace: Annotated[str | None, typer.Option(help="Id of the statement that it replaces (see `said`).")] = None,
    also: Annotated[bool, typer.Option("--also", help="Keep earlier statements on the same subject.")] = False,
    as_json: Json = False,
) -> None:
    """Make what a user states a line of the persona at once; the newest on a subject replaces the earlier."""
    with open_home(context) as home:
        told = home.tell(home.store.add_user(user), text, replace=replace, also=also)
    lines = [f"told {told.statement.statement_id}" + _live(told.version)]
    lines += [f"it replaces {each.statement_id}: {each.text} (--also would have kept it)" for each in told.replaced]
    print_result(told, lines, as_json=as_json)


@app.command("said")
def said_(context: typer.Context, user: UserId, as_json: Json = False) -> None:
    """List what a user stated, oldest first, and which later statement replaced which."""
    from ..data.said import said

    with open_home(context) as home:
        statements = said(home.store.user(user).memory.said())
    states = [f"replaced by {each.replaced_by}" if each.replaced_by else "holds" for each in statements]
    lines = [
        f"{each.statement_id}  {_date(each.at)}  {state}  {each.text}"
        for each, state in zip(statements, states, strict=True)
    ]
    print_result(statements, lines, as_json=as_json)


@app.command()
def untell(
    context: typer.Context,
    user: UserId,
    statement_id: Annotated[str, typer.Argument(help="Which statement (see `memory said`).")],
    as_json: Json = False,
) -> None:
    """Delete what a user stated; what it had replaced holds again."""
    with open_home(context) as home:
        version = home.untell(home.store.user(user), statement_id)
    result = {"statement_id": statement_id, "version": version}
    print_result(result, [f"deleted {statement_id}" + _live(version)], as_json=as_json)


@app.command()
def rebuild(context: typer.Context, user: OptionalUserId = None, as_json: Json = False) -> None:
    """Make the index anew from the store, with the present embedder; of all users, also if its files are damaged."""
    with open_home(context, guest=False) as home:
        if user is None:
            count = home.store.rebuild_index()
        else:
            home.store.user(user).memory.rebuild()
            count = 1
    print_result({"users": count}, [f"rebuilt the index of {count} user(s)"], as_json=as_json)


def _live(version: "PersonaVersion | None") -> str:
    return "" if version is None else f"; persona v{version.number} is live"


def _date(at: datetime | None) -> str:
    return at.date().isoformat() if at else "(undated)"
