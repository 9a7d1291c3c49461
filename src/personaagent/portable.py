"""A user or a run as one portable file of JSON lines: a line for each record, which says of what kind it is."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import TYPE_CHECKING, Literal, NamedTuple, TextIO

from pydantic import Field, ValidationError

from .data.alignment import Alignment
from .data.call import Attempt, Call, Run, RunEnd
from .data.errors import RecordError, StorageError, writing
from .data.files import private_file
from .data.interaction import Interaction
from .data.nouns import Noun
from .data.persona import PersonaVersion
from .data.statement import Statement
from .data.store import Promotion, Store, User

if TYPE_CHECKING:
    from .data.store.journal import Journal


class _Format(NamedTuple):
    """What a file holds."""

    noun: str
    kinds: dict[str, type[Noun]]
    remedy: str


_USER = _Format(
    "user",
    {
        "interaction": Interaction,
        "statement": Statement,
        "alignment": Alignment,
        "persona_version": PersonaVersion,
        "promotion": Promotion,
    },
    "give what `personaagent user export` wrote",
)
_RUN = _Format(
    "run",
    {"run": Run, "end": RunEnd, "call": Call, "attempt": Attempt},
    "give what `personaagent export-run` wrote",
)
_KINDS = {noun: kind for written in (_USER, _RUN) for kind, noun in written.kinds.items()}


class _Header(Noun):
    """The first line of a user's export."""

    format: Literal["personaagent user"] = "personaagent user"
    user_id: str
    records: int = Field(ge=0)
    """How many lines follow: a file that was cut off shows."""


def export_user(store: Store, user_id: str) -> Iterator[str]:
    """Return all that the store knows of a user as JSON lines, each with its line break.

    The first line says whose they are, each other is one record: interactions, statements, alignments, persona versions
    and promotions. What was paid for stays in the journal, what opens a server stays here.

    All of it is as of one moment, and none of it is held in memory: it waits in a temporary file without a name.
    """
    with writing(Path(gettempdir())), ExitStack() as failing:
        file = failing.enter_context(TemporaryFile("w+", encoding="utf-8", newline="\n"))
        count = sum(bool(file.write(_line(record))) for record in store.people.each(user_id))
        file.seek(0)
        failing.pop_all()
    return _lines(_Header(user_id=user_id, records=count), file)


def import_user(store: Store, lines: Iterable[str], user_id: str | None = None, *, source: str = "the export") -> User:
    """Store a user from the lines of an export, all of it or on any error nothing, and return the user.

    Args:
        store: Where to.
        lines: What `export_user` gave.
        user_id: Under which id, of which nothing may be stored yet; by default the one that the user had.
        source: Where the lines are from, as errors name it.
    """
    numbered = enumerate(lines, 1)
    header = next((_header(source, line) for _, line in numbered), None)
    if header is None:
        raise RecordError(source, "line 1", None, f"nothing is here: {_USER.remedy}")
    records = [_record(source, number, line, _USER) for number, line in numbered]
    if len(records) != header.records:
        raise RecordError(source, "line 1", "records", f"{header.records} are promised and {len(records)} are here")
    store.people.add(user_id or header.user_id, records)
    return store.user(user_id or header.user_id)


def export_run(journal: "Journal", run_id: str, path: Path) -> int:
    """Write a run to a file, with prompts and answers and without keys; return the number of calls."""
    run, calls = journal.run(run_id), journal.calls(run_id)
    records = (run, *journal.ends(run_id), *calls)
    write_lines(path, lambda: map(_line, chain(records, journal.all_attempts(run_id))))
    return len(calls)


def import_run(journal: "Journal", path: Path) -> Run:
    """Record a run from a file that `export_run` wrote, whole or not at all; it must not be recorded yet."""
    records = [_record(path, number, line, _RUN) for number, line in enumerate(read_lines(path), 1)]
    run = next((record for record in records if isinstance(record, Run)), None)
    if run is None:
        raise RecordError(path, "line 1", "kind", f"no run is in this file: {_RUN.remedy}")
    for number, record in enumerate(records, 1):
        if isinstance(record, Call | Attempt) and record.run_id != run.run_id:
            reason = f"{record.run_id!r} is not the file's run {run.run_id!r}"
            raise RecordError(path, f"line {number}", "run_id", reason)
    entries = [record for record in records if isinstance(record, Call | Attempt)]
    journal.add_run(run, [record for record in records if isinstance(record, RunEnd)], entries)
    return run


def write_lines(path: Path, lines: Callable[[], Iterable[str]]) -> None:
    """Write lines, which are asked for when the file is open, to a file that only its owner may read."""
    with writing(path):
        private_file(path)
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(lines())


def read_lines(path: Path) -> list[str]:
    """Return the lines of a file, with their line breaks."""
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            return file.readlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{path}: cannot be read: {error}") from error


def _lines(header: _Header, file: TextIO) -> Iterator[str]:
    with file:
        yield header.to_json() + "\n"
        yield from file


def _line(record: Noun) -> str:
    return json.dumps({"kind": _KINDS[type(record)], **json.loads(record.to_json())}, ensure_ascii=False) + "\n"


def _header(source: str, line: str) -> _Header:
    try:
        return _Header.from_json(line)
    except ValidationError as error:
        raise RecordError(source, "line 1", None, f"{_first(error)}: {_USER.remedy}") from error


def _record(source: str | Path, number: int, line: str, written: _Format) -> Noun:
    try:
        fields = json.loads(line)
        kind = written.kinds[fields.pop("kind")]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        problem = f"this is not a record of a {written.noun}: {written.remedy}"
        raise RecordError(source, f"line {number}", "kind", problem) from error
    try:
        return kind.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        raise RecordError(source, f"line {number}", _KINDS[kind], _first(error)) from error


def _first(error: ValidationError) -> str:
    """Return what is wrong first, and where; never the value, which is a user's own words."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
