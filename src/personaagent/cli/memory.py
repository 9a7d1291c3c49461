"""`personaagent memory`: what is remembered of a user."""

from typing import Annotated

import typer

from .context import Json, User, opened, out, print_json

app = typer.Typer(help="Search, list, forget and rebuild a user's memory.", no_args_is_help=True)


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
    """Remove one interaction from the store and the index, and every statement that stands on it."""
    with opened(context) as home:
        home.store.user(user).interactions.forget(interaction_id)
    out.print(f"forgot {interaction_id}", markup=False)


@app.command()
def rebuild(
    context: typer.Context,
    user: Annotated[str | None, typer.Option("--user", help="One user; by default all.")] = None,
) -> None:
    """Make the index anew from the store, with the present embedder."""
    with opened(context) as home:
        users = [home.store.user(user)] if user is not None else list(home.store.users())
        for handle in users:
            handle.memory.rebuild()
    out.print(f"rebuilt the index of {len(users)} user(s)")
