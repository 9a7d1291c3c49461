"""`personaagent ingest`: interactions into a user's memory, from JSON lines or LaMP files."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..data.errors import InputError
from .context import Json, err, opened, out, print_json, settings

if TYPE_CHECKING:
    from ..data.interaction import Interaction
    from ..data.task import Task


def ingest(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="JSON lines: query, ground_truth, at; other keys stay.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="Whose interactions FILE holds.")] = None,
    lamp: Annotated[Path | None, typer.Option("--lamp", help="Folder with LaMP question and output files.")] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="Of FILE: a task.json of your own, or a name (default open). Of the LaMP folder: by default its name."
        ),
    ] = None,
    users: Annotated[int | None, typer.Option(help="Only the first N users of the LaMP folder.", min=1)] = None,
    as_json: Json = False,
) -> None:
    """Store interactions durably, then index them. What is already stored is passed over; bad input stores nothing."""
    from ..data.task import is_built_in

    with opened(context) as home:
        if lamp is not None and file is None and user is None:
            asked = _task(task or lamp.resolve().name)
            histories = _of_lamp(lamp, asked, users)
        elif lamp is None and file is not None and user is not None:
            asked = _task(task)
            histories = _of_file(user, file, asked)
        else:
            raise InputError("give either --user U FILE.jsonl or --lamp DIR")
        if not is_built_in(asked.name):
            home.store.add_task(asked)
        stored = home.store.ingest(histories)
    if stored:
        _advise(settings(context).embedder, histories.values())
    if as_json:
        print_json({"users": len(histories), "stored": stored})
    else:
        out.print(f"{stored} new interactions of {len(histories)} user(s)")


def _task(said: str | None) -> "Task":
    """Return the task that is said by its name or by its file, and know it from now on."""
    from ..data.task import OPEN, read_task, register, task_named

    if said is None:
        return OPEN
    if not said.endswith(".json"):
        return task_named(said)
    task = read_task(Path(said))
    register(task)
    return task


def _of_file(user: str, file: Path, task: "Task") -> "dict[str, Sequence[Interaction]]":
    from ..data.ingest import read_jsonl

    return {user: read_jsonl(file, task)}


def _of_lamp(folder: Path, task: "Task", limit: int | None) -> "dict[str, Sequence[Interaction]]":
    from ..data.lamp import load

    people = load(folder, task).users[:limit]
    return {person.user_id: person.history for person in people}


def _advise(embedder: str, histories: "Iterable[Sequence[Interaction]]") -> None:
    """Say which embedder to choose if this one has no words for most of what was stored."""
    from ..data.memory.embedder import is_unknown
    from ..data.memory.rows import contents_of
    from ..lms import open_embedder

    contents = [content for history in histories for content in contents_of(history)]
    if all(content.isascii() for content in contents):
        return
    opened_one = open_embedder(embedder)
    if 2 * sum(is_unknown(opened_one, content) for content in contents) > len(contents):
        err.print(
            f"the embedder {embedder} has no words for most of these texts: they are recalled by their letters, not by "
            "their meaning. For that, choose one that knows their language, such as "
            "PERSONAAGENT_EMBEDDER=openai/text-embedding-3-small",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
