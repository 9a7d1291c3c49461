"""`personaagent data` and `personaagent ingest`: official data sets, and interactions into users' memories."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..data.errors import InputError
from .context import Json, echo, open_home, print_result, settings, warn

if TYPE_CHECKING:
    from ..data.interaction import Interaction
    from ..data.task import Task

app = typer.Typer(help="Fetch LaMP's official files.", no_args_is_help=True)


@app.callback()
def data() -> None:
    """Fetch LaMP's official files."""


@app.command()
def fetch(
    task: Annotated[str, typer.Argument(help="LaMP-1, LaMP-2M, LaMP-2N, LaMP-3, LaMP-4, LaMP-5 or LaMP-7.")],
    split: Annotated[Literal["train", "dev", "test"], typer.Option(help="Which split.")] = "dev",
    time_based: Annotated[bool, typer.Option("--time-based", help="The time-based separation.")] = False,
    into: Annotated[Path, typer.Option("--into", help="Where the folder of the task is made.")] = Path("lamp"),
) -> None:
    """Download questions and outputs from LaMP's site; its licence (CC BY-NC-SA 4.0) and each source's apply."""
    from ..data.lamp.fetch import fetch as fetch_files
    from ..data.tasks import task_named
    from .terminal import bytes_bar

    with bytes_bar() as on_progress:
        files = fetch_files(task_named(task), split, into / task, time_based=time_based, on_progress=on_progress)
    for file in files:
        echo(str(file))


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
    from ..data.ingest import read_jsonl
    from ..data.lamp import load
    from ..data.tasks import is_built_in

    histories: Mapping[str, Sequence[Interaction]]
    with open_home(context) as home:
        if lamp is not None and file is None and user is None:
            known = _task(task or lamp.resolve().name)
            histories = {each.user_id: each.history for each in load(lamp, known).users[:users]}
        elif lamp is None and file is not None and user is not None:
            known = _task(task)
            histories = {user: read_jsonl(file, known)}
        else:
            raise InputError("give either --user U FILE.jsonl or --lamp DIR")
        if not is_built_in(known.name):
            home.store.add_task(known)
        stored = home.store.ingest(histories)
    if stored:
        _advise(settings(context).embedder, histories.values())
    lines = [f"{stored} new interactions of {len(histories)} user(s)"]
    print_result({"users": len(histories), "stored": stored}, lines, as_json=as_json)


def _task(name: str | None) -> "Task":
    """Return the task of this name, or the task in the file of this name, which is known from now on."""
    from ..data.task import OPEN
    from ..data.tasks import read_task, register, task_named

    if name is None:
        return OPEN
    if not name.endswith(".json"):
        return task_named(name)
    task = read_task(Path(name))
    register(task)
    return task


def _advise(embedder: str, histories: "Iterable[Sequence[Interaction]]") -> None:
    """Say which embedder to choose if this one has no words for most of what was stored."""
    from ..data.memory.embedder import is_unknown
    from ..data.memory.rows import contents_of
    from ..lms import open_embedder

    contents = [content for history in histories for content in contents_of(history)]
    if all(content.isascii() for content in contents):
        return
    opened = open_embedder(embedder)
    if 2 * sum(is_unknown(opened, content) for content in contents) > len(contents):
        warn(
            f"the embedder {embedder} has no words for most of these texts: they are recalled by their letters, not by "
            "their meaning. For that, choose one that knows their language, such as "
            "PERSONAAGENT_EMBEDDER=openai/text-embedding-3-small"
        )
