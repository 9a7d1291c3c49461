"""`personaagent ingest`: interactions into a user's memory, from JSON lines or LaMP files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..data.errors import InputError
from .context import Json, opened, out, print_json

if TYPE_CHECKING:
    from ..data.interaction import Interaction


def ingest(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="JSON lines: query, ground_truth, at; other keys stay.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="Whose interactions FILE holds.")] = None,
    lamp: Annotated[Path | None, typer.Option("--lamp", help="Folder with LaMP question and output files.")] = None,
    task: Annotated[str | None, typer.Option(help="Task of the LaMP folder; by default told by its name.")] = None,
    users: Annotated[int | None, typer.Option(help="Only the first N users of the LaMP folder.", min=1)] = None,
    as_json: Json = False,
) -> None:
    """Store interactions durably, then index them. What is already stored is passed over; bad input stores nothing."""
    if lamp is not None and file is None and user is None:
        histories = _of_lamp(lamp, task, users)
    elif lamp is None and file is not None and user is not None:
        histories = _of_file(user, file)
    else:
        raise InputError("give either --user U FILE.jsonl or --lamp DIR")
    with opened(context) as home:
        stored = home.store.ingest(histories)
    if as_json:
        print_json({"users": len(histories), "stored": stored})
    else:
        out.print(f"{stored} new interactions of {len(histories)} user(s)")


def _of_file(user: str, file: Path) -> "dict[str, Sequence[Interaction]]":
    from ..data.ingest import read_jsonl

    return {user: read_jsonl(file)}


def _of_lamp(folder: Path, task: str | None, limit: int | None) -> "dict[str, Sequence[Interaction]]":
    from ..data.lamp import load, task_named

    people = load(folder, task_named(task or folder.resolve().name)).users[:limit]
    return {person.user_id: person.history for person in people}
