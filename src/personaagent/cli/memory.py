"""`personaagent memory`: what is remembered of a user, and what the user states."""

from typing import TYPE_CHECKING, Annotated

import typer

from .context import Json, User, opened, out, print_json

if TYPE_CHECKING:
    from ..data.persona import PersonaVersion

app = typer.Typer(help="Search, list, forget and rebuild memory; tell what a user states.", no_args_is_help=True)


@app.command()
def search(
    context: typer.Context,
    user: User,
    query: Annotated[str, typer.Argument(help="What to look for.")],
    k: Annotated[int, typer.Option(help="How many episodes at most.", min=1)] = 4,
    as_json: Json = False,
) -> None:
    """Find the interactions nearest in meaning to QUERY."""
    with opened(context) as home:
        episodes = home.store.user(user).memory.recall(query, k)
    if as_json:
        print_json([episode.model_dump(mode="json") for episode in episodes])
        return
    for episode in episodes:
        one = episode.interaction
        out.print(f"{episode.similarity:.2f}  {one.interaction_id}  {one.ground_truth}  {one.query}", markup=False)


@app.command("list")
def list_(context: typer.Context, user: User, as_json: Json = False) -> None:
    """List a user's interactions, oldest first, and the current statements about the user."""
    with opened(context) as home:
        handle = home.store.user(user)
        interactions, statements = handle.interactions.all(), handle.memory.statements()
    if as_json:
        print_json(
            {
                "interactions": [one.model_dump(mode="json") for one in interactions],
                "statements": [statement.model_dump(mode="json") for statement in statements],
            }
        )
        return
    for one in interactions:
        date = one.at.date().isoformat() if one.at else "(undated)"
        out.print(f"{one.interaction_id}  {date}  {one.ground_truth}  {one.query}", markup=False)
    for statement in statements:
        out.print(f"* {statement.text} ({len(statement.evidence)} interactions)", markup=False)


@app.command()
def forget(
    context: typer.Context,
    user: User,
    interaction_id: Annotated[str, typer.Argument(help="Which interaction (see `memory list`).")],
) -> None:
    """Remove one interaction from the store and the index, and from the persona what only it caused."""
    with opened(context) as home:
        version = home.forget(home.store.user(user), interaction_id)
    out.print(f"forgot {interaction_id}" + _live(version), markup=False)


@app.command()
def tell(
    context: typer.Context,
    user: User,
    text: Annotated[str, typer.Argument(help="What the user states, in one line: 'I am vegetarian'.")],
    replace: Annotated[str | None, typer.Option(help="Id of the statement that it replaces (see `said`).")] = None,
    also: Annotated[bool, typer.Option("--also", help="Keep earlier statements on the same subject.")] = False,
    as_json: Json = False,
) -> None:
    """Make what a user states a line of the persona at once; the newest on a subject replaces the earlier."""
    with opened(context) as home:
        told = home.tell(home.store.add_user(user), text, replace=replace, also=also)
    if as_json:
        print_json(told.model_dump(mode="json"))
        return
    out.print(f"told {told.statement.statement_id}" + _live(told.version), markup=False)
    for one in told.replaced:
        out.print(f"it replaces {one.statement_id}: {one.text} (--also would have kept it)", markup=False)


@app.command("said")
def said_(context: typer.Context, user: User, as_json: Json = False) -> None:
    """List what a user stated, oldest first, and which later statement replaced which."""
    from ..data.said import said

    with opened(context) as home:
        statements = said(home.store.user(user).memory.said())
    if as_json:
        print_json([one.model_dump(mode="json") for one in statements])
        return
    for one in statements:
        state = f"replaced by {one.replaced_by}" if one.replaced_by else "holds"
        date = one.at.date().isoformat() if one.at else "(undated)"
        out.print(f"{one.statement_id}  {date}  {state}  {one.text}", markup=False)


@app.command()
def untell(
    context: typer.Context,
    user: User,
    statement_id: Annotated[str, typer.Argument(help="Which statement (see `memory said`).")],
) -> None:
    """Delete what a user stated; what it had replaced holds again."""
    with opened(context) as home:
        version = home.untell(home.store.user(user), statement_id)
    out.print(f"deleted {statement_id}" + _live(version), markup=False)


@app.command()
def rebuild(
    context: typer.Context,
    user: Annotated[str | None, typer.Option("--user", help="One user; by default all.")] = None,
) -> None:
    """Make the index anew from the store, with the present embedder; of all users, also if its files are damaged."""
    with opened(context, guest=False) as home:
        if user is None:
            count = home.store.rebuild_index()
        else:
            home.store.user(user).memory.rebuild()
            count = 1
    out.print(f"rebuilt the index of {count} user(s)")


def _live(version: "PersonaVersion | None") -> str:
    return "" if version is None else f"; persona v{version.number} is live"
