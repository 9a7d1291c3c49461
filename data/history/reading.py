"""A user's history from a file, a table, an export or rows in memory.

    {"query": "A film for tonight?", "ground_truth": "comedy", "at": "2024-05-01T20:15:00Z"}

`query` and `ground_truth` are texts, `at` is a date. `id` and `task` may be given; any other field is kept as metadata.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from pydantic_core import to_jsonable_python

from ..errors import InputError, UnknownNameError
from ..interaction import Interaction
from ..record import Record, date_of
from ..store.log import check_id, written
from ..task import OPEN, Task, task_named
from ..texts import texts_in
from .answers import task_of
from .columns import Columns, Found
from .exports import Fields, export_of
from .files import JSON, Source, name_of, rows_of

_EMPTY = "holds no interaction: write a table with a row for each, or a line of JSON with query, ground_truth and at"
_OF_EXPORT = Found({name: name for name in ("query", "ground_truth", "at", "response")}, "user", frozenset())


class History(NamedTuple):
    """What was read."""

    by_user: Mapping[str, tuple[Interaction, ...]]
    """The interactions of each user, oldest first."""
    read_as: str
    """How: of which service, or which column says what. Empty if the columns have the names of the fields."""
    columns: Mapping[str, str]
    """The column of each field; of an export, the field itself."""
    is_guess: bool
    """Whether a column was guessed by its name."""
    left_out: int
    """Rows without an answer of the user's."""
    task: Task
    """What a row asks that names no task."""


class _Table(NamedTuple):
    """Rows, each with its fields, and where these say what."""

    rows: Sequence[tuple[Record, Fields]]
    found: Found
    read_as: str


def read_history(
    source: Source,
    *,
    user: str | None = None,
    task: Task | None = None,
    columns: Columns = Columns(),  # noqa: B008 (it cannot change)
    labels: bool = False,
    split: str = "train",
) -> History:
    """Read a whole source, or refuse it: nothing is returned if anything in it is wrong.

    Rows may be in any order, and stand in that of their dates; without dates, in that of the source. An interaction
    without `id` gets one, made of its content and its place among those with the same content. So a source that has
    grown can be read again without doubling what was in it, and what is in it twice stays twice.

    Args:
        source: A file (JSON lines or array, CSV, TSV, Parquet), an export of a service, a dataset on the Hugging Face
            hub, or rows in memory: dicts, a `datasets.Dataset`, a pandas frame.
        user: Whose interactions these are. Where the rows say whose they are, only those of this user are read.
        task: What a row asks that names no task; by default told from the answers, see `task_of`.
        columns: The columns that say what; by default those with the fields' names, or else guesses.
        labels: Whether few short answers in words, which come again and again, are the labels of a task.
        split: Of a dataset on the hub.

    Raises:
        InputError: The source is empty, cannot be read, or it is not known whose interactions these are.
        RecordError: Something in a row is wrong; the message names file, row and field.

    Example:
        >>> read_history(Path("films.csv"), user="maya", columns=Columns(query="Title", ground_truth="Rating"))
    """
    name, rows = name_of(source), tuple(rows_of(source, split))
    if not rows:
        raise InputError(f"{name}: {_EMPTY}")
    read = _table(rows, name, task or OPEN, columns)
    found = read.found
    answered = [row for row in read.rows if _is_answered(*row, found)]
    by_user = _by_user(answered, found, user, name)
    if not by_user:
        raise InputError(f"{name}: holds no interaction{f' of {user!r}' if user else ''} with an answer of the user's")
    _check_dates(answered, found)
    asked = task or _told_by(by_user, found, labels=labels)
    return History(
        {whose: tuple(_interactions(theirs, found, asked)) for whose, theirs in by_user.items()},
        read.read_as if task or asked == OPEN else ", ".join(filter(None, (read.read_as, _told(asked)))),
        found.columns,
        is_guess=bool(found.guessed),
        left_out=len(read.rows) - len(answered),
        task=asked,
    )


def _told_by(by_user: Mapping[str, Sequence[tuple[Record, Fields]]], found: Found, *, labels: bool) -> Task:
    """Return the task that the answers are of; `open` if some are not known, or rows name tasks."""
    if any("task" in fields for rows in by_user.values() for _, fields in rows):
        return OPEN
    answers = [each.ground_truth for rows in by_user.values() for each in _interactions(rows, found, OPEN)]
    known = [answer for answer in answers if answer is not None]
    return OPEN if len(known) < len(answers) else task_of(known, found.columns, words=labels)


def _told(task: Task) -> str:
    answers = "ratings from 1 to 5" if task.kind == "rating" else f"{len(task.labels)} labels"
    return f"the answers are {answers} (task {task.name!r})"


def _table(rows: Sequence[Record], name: str, task: Task, columns: Columns) -> _Table:
    export = export_of(rows[0]) if columns == Columns() else None
    if export is not None:
        return _Table(tuple(export.read(rows, task)), _OF_EXPORT, f"{export.name}: {export.said}")
    found = columns.found_in(dict.fromkeys(field for row in rows for field in row.fields), name)
    return _Table([(row, row.fields) for row in rows], found, str(found) if found.is_renamed else "")


def _is_answered(row: Record, fields: Fields, found: Found) -> bool:
    """Return whether a row has an answer. One of JSON that has none is a mistake, which is said when it is read."""
    has_any = fields.get(found.columns["ground_truth"]) is not None or found.columns.get("response") in fields
    return has_any or (found is not _OF_EXPORT and str(row.file).lower().endswith(JSON))


def _check_dates(rows: Sequence[tuple[Record, Fields]], found: Found) -> None:
    at = found.columns.get("at")
    undated = [row for row, fields in rows if fields.get(at or "") is None]
    if at and 0 < len(undated) < len(rows):
        raise undated[0].error(at, "is missing, and other rows have it: say when it happened, as YYYY-MM-DD")


def _by_user(
    rows: Sequence[tuple[Record, Fields]], found: Found, user: str | None, name: str
) -> dict[str, list[tuple[Record, Fields]]]:
    by_user = defaultdict[str, list[tuple[Record, Fields]]](list)
    for row, fields in rows:
        whose = str(fields[found.user]) if found.user in fields else user
        if whose is None:
            raise InputError(f"{name}: whose interactions are these? Name the user with --user")
        if user in (None, whose):
            by_user[whose].append((row, fields))
    return dict(by_user)


def _interactions(rows: Sequence[tuple[Record, Fields]], found: Found, task: Task) -> Iterator[Interaction]:
    copies, names = Counter[str](), dict[str, str]()
    read = [(row, _interaction(row, fields, found, copies, task)) for row, fields in rows]
    for position, (row, interaction) in enumerate(sorted(read, key=lambda pair: pair[1].moment)):
        if (first := names.setdefault(interaction.interaction_id, row.name)) != row.name:
            raise row.error("id", f"{interaction.interaction_id!r} is the id of {first} already: ids must differ")
        yield interaction.model_copy(update={"position": position})


def _interaction(row: Record, fields: Fields, found: Found, copies: Counter[str], default: Task) -> Interaction:
    """Return the interaction that a row holds; `copies` counts those with the same content."""
    record, columns = Record(row.file, row.name, fields), found.columns
    task = _task(record, default)
    query, at = _words(record, columns["query"]), _date(record, columns.get("at"))
    response = record.text("response") if columns.get("response") in fields else None
    ground_truth = _truth(record, columns["ground_truth"], task) if response is None else None
    content = json.dumps([query, ground_truth, at and at.isoformat()])
    copies[content] += 1
    made_id = hashlib.sha256(f"{content}{copies[content]}".encode()).hexdigest()[:16]
    interaction = Interaction(
        interaction_id=record.identifier("id") if "id" in fields else made_id,
        query=query,
        ground_truth=ground_truth,
        response=response,
        at=at,
        task=task.name,
        source="import",
        metadata=_metadata(record, {*columns.values(), found.user, "id", "task"}),
    )
    _check_storable(record, interaction)
    return interaction


def _task(record: Record, default: Task) -> Task:
    if "task" not in record.fields:
        return default
    try:
        return task_named(record.text("task"))
    except UnknownNameError as error:
        raise record.error("task", str(error)) from error


def _words(record: Record, field: str) -> str:
    if not (text := record.text(field)).strip():
        raise record.error(field, "is empty: leave the row out, or say what was said")
    return text


def _truth(record: Record, field: str, task: Task) -> str:
    """Return what the user answered; a number is a rating."""
    value = record.fields.get(field)
    if isinstance(value, int | float) and not isinstance(value, bool):
        whole = isinstance(value, float) and value.is_integer()
        record = Record(record.file, record.name, {field: str(int(value) if whole else value)})
    if task.kind == "rating" and (rating := task.parse(record.text(field))):
        return rating
    return record.label(field, task.labels) if task.labels else _words(record, field)


def _date(record: Record, field: str | None) -> datetime | None:
    if field is None or (value := record.fields.get(field)) is None:
        return None
    if isinstance(value, datetime):
        value = value.isoformat()
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise record.error(field, f"expected a date, found {type(value).__name__} {str(value)[:40]!r}")
    try:
        return date_of(value)
    except ValueError as error:
        raise record.error(field, str(error)) from error


def _metadata(record: Record, known: set[str | None]) -> dict[str, Any]:
    metadata = {field: value for field, value in record.fields.items() if field not in known}
    for field, value in metadata.items():
        for text in texts_in({field: value}, names=True):
            Record(record.file, record.name, {field: text}).text(field)
    return to_jsonable_python(metadata, fallback=str)


def _check_storable(record: Record, interaction: Interaction) -> None:
    """Refuse here, where the row is known, what the store would refuse."""
    try:
        check_id("the id", interaction.interaction_id)
        written(interaction)
    except InputError as error:
        raise record.error(None, str(error)) from error
