"""A user's history from a file of JSON lines: one interaction a line, oldest first.

    {"query": "A film for tonight?", "ground_truth": "comedy", "at": "2024-05-01T20:15:00Z"}

`query` and `ground_truth` are texts, `at` is an ISO 8601 date or time, in UTC if it does not say. `id` and `task` may
be given; any other key is kept as metadata. Blank lines do not count.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from pydantic_core import from_json

from .errors import InputError, RecordError, UnknownNameError
from .interaction import Interaction
from .lamp.record import Record
from .store.log import check_id, written
from .task import OPEN, Task, task_named

_FIELDS = {"query", "ground_truth", "at", "id", "task"}


def read_jsonl(file: Path, task: Task = OPEN) -> tuple[Interaction, ...]:
    """Read a whole file, or refuse it: nothing is returned if anything in it is wrong.

    An interaction without `id` gets one, made of its content and its place among those with the same content. So a file
    that has grown can be read again without doubling what was in it, and what is in it twice stays twice.

    Args:
        file: UTF-8, one JSON object a line, in the order of `at`.
        task: What a line asks that names no task.

    Raises:
        InputError: The file is empty or cannot be read.
        RecordError: Something in a line is wrong; the message names file, line and field.
    """
    if not (interactions := tuple(_interactions(file, task))):
        raise InputError(f"{file}: holds no interaction: write one a line, as JSON with query, ground_truth and at")
    return interactions


def _interactions(file: Path, task: Task) -> Iterator[Interaction]:
    lines: dict[str, str] = {}
    copies: Counter[str] = Counter()
    previous: Interaction | None = None
    for position, record in enumerate(_records(file)):
        one = _interaction(record, position, copies, task)
        if previous and one.precedes(previous):
            raise record.error("at", f"{record.fields['at']!r} is before the line above: put the oldest line first")
        if (first := lines.setdefault(one.interaction_id, record.name)) != record.name:
            raise record.error("id", f"{one.interaction_id!r} is the id of {first} already: ids must differ")
        previous = one
        yield one


def _records(file: Path) -> Iterator[Record]:
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield Record(file, f"line {number}", _parsed(file, f"line {number}", line))
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error


def _parsed(file: Path, name: str, line: bytes) -> object:
    try:
        return from_json(line.decode("utf-8-sig"), allow_inf_nan=False)
    except UnicodeDecodeError as error:
        raise RecordError(file, name, None, f"is not UTF-8: {error}: save the file as UTF-8") from error
    except ValueError as error:
        problem = str(error).replace("line 1 column", "character")
        raise RecordError(file, name, None, f"malformed JSON: {problem}") from error


def _interaction(record: Record, position: int, copies: Counter[str], default: Task) -> Interaction:
    """Return the interaction that a line holds; `copies` counts those with the same content."""
    task = _task(record, default)
    query, at = _words(record, "query"), _date(record)
    ground_truth = record.label("ground_truth", task.labels) if task.labels else _words(record, "ground_truth")
    content = json.dumps([query, ground_truth, at.isoformat()])
    copies[content] += 1
    made_id = hashlib.sha256(f"{content}{copies[content]}".encode()).hexdigest()[:16]
    interaction = Interaction(
        interaction_id=record.identifier("id") if "id" in record.fields else made_id,
        query=query,
        ground_truth=ground_truth,
        at=at,
        position=position,
        task=task.name,
        source="import",
        metadata=_metadata(record),
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
        raise record.error(field, "is empty: leave the line out, or say what was said")
    return text


def _date(record: Record) -> datetime:
    try:
        at = record.date("at")
    except OverflowError as error:
        raise record.error("at", f"{record.fields['at']!r} is out of range: years 1 to 9999 in UTC") from error
    if at is None:
        raise record.error("at", "is missing: say when it happened, as YYYY-MM-DD or with a time")
    return at


def _metadata(record: Record) -> dict[str, Any]:
    metadata = {field: value for field, value in record.fields.items() if field not in _FIELDS}
    for field, value in metadata.items():
        for text in _texts({field: value}):
            Record(record.file, record.name, {field: text}).text(field)
    return metadata


def _texts(value: object) -> Iterator[str]:
    """Yield every text in a JSON value, the names of its fields too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from _texts(item)
    elif isinstance(value, dict):
        for name, item in cast("dict[str, object]", value).items():
            yield name
            yield from _texts(item)


def _check_storable(record: Record, interaction: Interaction) -> None:
    """Refuse here, where the line is known, what the store would refuse."""
    try:
        check_id("the id", interaction.interaction_id)
        written(interaction)
    except InputError as error:
        raise record.error(None, str(error)) from error
