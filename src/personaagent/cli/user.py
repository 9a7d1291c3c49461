"""`personaagent user`: a user as a whole: listed, erased, exported, imported."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .context import Json, open_home, print_result, warn

if TYPE_CHECKING:
    from ..erasure import Receipt

app = typer.Typer(help="List, erase, export and import users.", no_args_is_help=True)
UserId = Annotated[str, typer.Argument(metavar="USER", help="Who.")]


@app.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """List the users, with how many interactions and which live persona each has."""
    with open_home(context) as home:
        users = [
            {"user": each.user_id, "interactions": len(each.interactions), "persona": live and live.number}
            for each in home.store.users()
            for live in [each.personas.live]
        ]
    lines = (
        f"{each['user']}  {each['interactions']} interactions  persona {each['persona'] or 'none'}" for each in users
    )
    print_result(users, lines, as_json=as_json)


@app.command()
def erase(
    context: typer.Context,
    user: UserId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Erase a user with every trace: store, journal, index, MLflow, and the files under them.

    Exit code 1 says that something is left: do it again when what the receipt names can be reached.
    """
    from ..erasure import erase as erase_user

    with open_home(context) as home:
        known = user in {each.user_id for each in home.store.users()}
        if not yes:
            who = "and all that is known of this user" if known else "of whom nothing is stored, wherever a trace is"
            typer.confirm(f"Erase {user!r}, {who}? Nothing brings it back.", abort=True, err=True)
        receipt = erase_user(home, user)
    print_result(receipt, _removed(receipt), as_json=as_json)
    if receipt.left:
        if not as_json:
            for what in receipt.left:
                warn(f"left: {what}")
            warn("erase again later, to see that nothing is left")
        raise typer.Exit(1)


@app.command()
def export(
    context: typer.Context,
    user: UserId,
    file: Annotated[str, typer.Argument(help="To write; - for standard output.")],
    as_json: Json = False,
) -> None:
    """Write all that is known of a user to one portable file of JSON lines."""
    from ..portable import export_user, write_lines

    with open_home(context) as home:
        known = home.store.user(user).user_id  # Before the file is made.
        if file == "-":
            sys.stdout.writelines(export_user(home.store, known))
        else:
            write_lines(Path(file), lambda: export_user(home.store, known))
    if file != "-":
        print_result({"user": user, "file": file}, [f"user {user}: written to {file}"], as_json=as_json)


@app.command("import")
def import_(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="From `user export`; - for standard input.")],
    user: Annotated[str | None, typer.Option("--user", help="Under another id than the user had.")] = None,
    as_json: Json = False,
) -> None:
    """Store a user from a file that `user export` wrote: all of it, or nothing."""
    from ..portable import import_user, read_lines

    lines = sys.stdin.readlines() if file == "-" else read_lines(Path(file))
    with open_home(context) as home:
        imported = import_user(home.store, lines, user, source=file)
        count = len(imported.interactions)
    result = {"user": imported.user_id, "interactions": count}
    print_result(result, [f"user {imported.user_id}: {count} interactions imported"], as_json=as_json)


def _removed(receipt: "Receipt") -> Iterator[str]:
    for what, count in receipt.removed.items():
        if count:
            yield f"{count:6}  {what}"
    if not any(receipt.removed.values()):
        yield "nothing of this user was here"
