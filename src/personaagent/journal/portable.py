"""A run as one portable file: a line of JSON for the run, each of its ends, calls and attempts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from ..data.call import Attempt, Call, Run, RunEnd
from ..data.errors import RecordError, StorageError, writing
from ..data.files import private_file
from ..data.nouns import Noun

if TYPE_CHECKING:
    from ..data.store.journal import Journal

_KINDS: dict[str, type[Noun]] = {"run": Run, "end": RunEnd, "call": Call, "attempt": Attempt}


def export_run(journal: "Journal", run_id: str, path: Path) -> int:
    """Write a run to a file; prompts and answers are in it, keys are not.

    Returns:
        The number of calls.

    Raises:
        UnknownNameError: There is no such run.
        StorageError: The file cannot be written.
    """
    run, calls = journal.run(run_id), journal.calls(run_id)
    with writing(path):
        private_file(path)
        with path.open("w", encoding="utf-8") as file:
            for kind, noun in _nouns(journal, run, calls):
                file.write(json.dumps({"kind": kind, **json.loads(noun.to_json())}) + "\n")
    return len(calls)


def import_run(journal: "Journal", path: Path) -> Run:
    """Record a run from a file that `export_run` wrote, whole or not at all.

    Raises:
        RecordError: The file is not such a file, or it has been changed.
        InputError: A run of this id is recorded already.
        StorageError: The file cannot be read, or the store not written.
    """
    nouns = [_read(path, number, line) for number, line in enumerate(_lines(path), 1)]
    run = next((noun for noun in nouns if isinstance(noun, Run)), None)
    if run is None:
        raise RecordError(path, "line 1", "kind", "no run is in this file: give one that export-run wrote")
    for number, noun in enumerate(nouns, 1):
        if isinstance(noun, Call | Attempt) and noun.run_id != run.run_id:
            raise RecordError(path, f"line {number}", "run_id", f"{noun.run_id!r} is not the file's run {run.run_id!r}")
    entries = [noun for noun in nouns if isinstance(noun, Call | Attempt)]
    journal.add_run(run, [noun for noun in nouns if isinstance(noun, RunEnd)], entries)
    return run


def _nouns(journal: "Journal", run: Run, calls: tuple[Call, ...]) -> Iterator[tuple[str, Noun]]:
    yield "run", run
    yield from (("end", end) for end in journal.ends(run.run_id))
    yield from (("call", call) for call in calls)
    yield from (("attempt", attempt) for attempt in journal.all_attempts(run.run_id))


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as file:
            yield from file
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{path}: cannot be read: {error}") from error


def _read(path: Path, number: int, line: str) -> Noun:
    try:
        fields = json.loads(line)
        return _KINDS[fields.pop("kind")].model_validate_json(json.dumps(fields))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise RecordError(path, f"line {number}", str(first["loc"][0] if first["loc"] else ""), first["msg"]) from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise RecordError(
            path, f"line {number}", "kind", "this is not a line of a run: give a file that export-run wrote"
        ) from error
