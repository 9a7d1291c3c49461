"""`personaagent ingest`: interactions into a user's memory, from files of one's own or LaMP files."""

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..data.errors import InputError
from .context import Json, grouped, open_home, print_result, settings, warn

if TYPE_CHECKING:
    from ..data.history import History
    from ..data.interaction import Interaction
    from ..data.task import Task


@dataclass(frozen=True)
class Reading:
    """Which column of a file says what."""

    query: Annotated[str | None, typer.Option(help="FILE's column with what was asked.")] = None
    truth: Annotated[str | None, typer.Option(help="FILE's column with what the user answered, or a rating.")] = None
    at: Annotated[str | None, typer.Option(help="FILE's column with the date; without, rows are oldest first.")] = None
    user_column: Annotated[str | None, typer.Option(help="FILE's column with whose row it is.")] = None
    labels: Annotated[
        bool, typer.Option("--labels", help="Few answers come again and again: take them as the labels of a task.")
    ] = False
    split: Annotated[str, typer.Option(help="Of a dataset on the Hugging Face hub.")] = "train"
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Take columns that were guessed by their names.")] = False


@dataclass(frozen=True)
class LampFolder:
    """LaMP's files, in place of FILE."""

    lamp: Annotated[Path | None, typer.Option(help="Folder with LaMP question and output files.")] = None
    users: Annotated[int | None, typer.Option(help="Only the first N users of the LaMP folder.", min=1)] = None


@grouped
def ingest(
    context: typer.Context,
    reading: Reading,
    folder: LampFolder,
    file: Annotated[
        str | None,
        typer.Argument(
            help="JSON lines or an array, CSV, TSV, Parquet, an export (Goodreads, Letterboxd, Amazon reviews, "
            "ChatGPT, Slack, OpenAI fine-tuning), or a dataset's name on the Hugging Face hub."
        ),
    ] = None,
    user: Annotated[str | None, typer.Option("--user", help="Whose interactions FILE holds.")] = None,
    task: Annotated[
        str | None,
        typer.Option(help="A task.json of your own, or a name such as open; by default told from FILE's answers."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Store interactions durably, then index them. What is already stored is passed over; bad input stores nothing."""
    from ..data.lamp import load
    from ..data.task import is_built_in

    lamp = folder.lamp
    if (lamp is None) == (file is None) or (lamp and user):
        raise InputError("give either --user U FILE or --lamp DIR")
    read = None
    with open_home(context) as home:
        if lamp is not None:
            asked = _task(task or lamp.resolve().name)
            people = load(lamp, asked).users[: folder.users]
            histories: Mapping[str, Sequence[Interaction]] = {person.user_id: person.history for person in people}
        else:
            read = _read(str(file), user, _task(task) if task else None, reading)
            asked, histories = read.task, read.by_user
        if not is_built_in(asked.name):
            home.store.add_task(asked)
        stored = home.store.ingest(histories)
    if stored:
        _advise(settings(context).embedder, histories.values())
    how = {"read_as": read.read_as, "left_out": read.left_out} if read else {}
    left_out = f"; {read.left_out} rows without an answer left out" if read and read.left_out else ""
    lines = [f"{stored} new interactions of {len(histories)} user(s){left_out}"]
    print_result({"users": len(histories), "stored": stored, **how}, lines, as_json=as_json)


def _task(said: str) -> "Task":
    """Return the task that is said by its name or by its file, and know it from now on."""
    from ..data.task import read_task, register, task_named

    if not said.endswith(".json"):
        return task_named(said)
    task = read_task(Path(said))
    register(task)
    return task


def _read(file: str, user: str | None, task: "Task | None", reading: Reading) -> "History":
    """Read a file of one's own, and say how it was read before anything is stored."""
    from ..data.history import read_history
    from ..data.history.columns import Columns

    columns = Columns(reading.query, reading.truth, reading.at, reading.user_column)
    read = read_history(file, user=user, task=task, columns=columns, labels=reading.labels, split=reading.split)
    if task is None and not reading.labels:
        _hint_at_labels(file, read)
    if read.read_as:
        [first, *_] = next(iter(read.by_user.values()))
        said = f"{file}: {read.read_as}; the first: {first.query[:200]!r} -> {(first.ground_truth or '')[:200]!r}"
        warn(said)
    if read.is_guess and not reading.yes and not (sys.stdin.isatty() and typer.confirm("Is that so?", err=True)):
        options = {"--query": "query", "--truth": "ground_truth", "--at": "at"}
        said = [
            f"{option} {shlex.quote(read.columns[role])}" for option, role in options.items() if role in read.columns
        ]
        raise InputError(f"{file}: nothing is stored by guesses: add {' '.join(said)} if that is so, or --yes")
    return read


def _hint_at_labels(file: str, read: "History") -> None:
    """Say how answers in words can become labels, if they look like some."""
    from ..data.history.answers import labels_of
    from ..data.task import OPEN

    answers = [each.ground_truth or "" for history in read.by_user.values() for each in history]
    if read.task == OPEN and (labels := labels_of(answers)):
        warn(
            f"{file}: the answers are {len(labels)} different ones; with --labels every answer is one of them, and has "
            "a probability"
        )


def _advise(embedder: str, histories: "Iterable[Sequence[Interaction]]") -> None:
    """Say which embedder to choose if this one has no words for most of what was stored."""
    from ..data.memory.embedder import is_unknown
    from ..data.memory.rows import content_of
    from ..lms import open_embedder

    contents = [content_of(interaction) for history in histories for interaction in history]
    if all(content.isascii() for content in contents):
        return
    opened = open_embedder(embedder)
    if 2 * sum(is_unknown(opened, content) for content in contents) > len(contents):
        warn(
            f"the embedder {embedder} has no words for most of these texts: they are recalled by their letters, not by "
            "their meaning. For that, choose one that knows their language, such as "
            "PERSONAAGENT_EMBEDDER=openai/text-embedding-3-small"
        )
