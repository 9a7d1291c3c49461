"""Whole users: erased with every trace, or written to JSON lines and read back."""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import TYPE_CHECKING, Literal, TextIO

from pydantic import Field, ValidationError

from .data.alignment import Alignment
from .data.errors import PersonaAgentError, RecordError, StorageError, writing
from .data.interaction import Interaction
from .data.nouns import Noun
from .data.persona import PersonaVersion
from .data.statement import Statement
from .data.store import Promotion, Store, User, user_key
from .data.store.erasure import PARTS, Part, Tombstone
from .data.store.journal import now
from .data.store.log import check_id

if TYPE_CHECKING:
    from .home import Home

_KINDS: dict[str, type[Noun]] = {
    "interaction": Interaction,
    "statement": Statement,
    "alignment": Alignment,
    "persona_version": PersonaVersion,
    "promotion": Promotion,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
_REMEDY = "give what `personaagent user export` wrote"

_log = logging.getLogger(__name__)


class Receipt(Noun):
    """What was removed of a user, and what was not."""

    user_key: str
    removed: dict[str, int]
    """By what it was: rows of each table, `episodes` of the index, `prompt_versions` and `tracked_runs` of MLflow."""
    left: tuple[str, ...] = ()
    """What could not be removed yet, in words. It is noted, and done later; what others must do says so."""
    at: datetime


class _Header(Noun):
    """The first line of an export."""

    format: Literal["personaagent user"] = "personaagent user"
    user_id: str
    records: int = Field(ge=0)
    """How many lines follow: a file that was cut off shows."""


def erase(home: "Home", user_id: str) -> Receipt:
    """Erase a user with every trace: from store, journal, index and MLflow, and from the files under them.

    That it is to be done is noted first. What fails, or is left when the process is killed, is named in the receipt and
    done later: when the home is opened again, by a server in the background, or by erasing again. What evaluations keep
    of the people in their data stays.

    Args:
        home: The home folder.
        user_id: Whom; nobody of this id need be stored any more.

    Raises:
        InputError: This cannot be a user id.
        StorageError: The store could not be written; nothing was noted or erased.
    """
    check_id("user id", user_id)
    home.store.use_reserve()
    stone = home.store.people.tombstones.add(user_key(user_id))
    if not home.is_guest:
        return _go_on(home, stone, PARTS)
    receipt = _go_on(home, stone, [part for part in PARTS if part not in _FILES])
    return receipt.model_copy(update={"left": (*receipt.left, _OF_THE_FIRST)})


def finish_erasures(home: "Home", *, elsewhere: bool = True) -> tuple[Receipt, ...]:
    """Go on with every erasure that is not finished.

    Args:
        home: The home folder.
        elsewhere: Whether services are asked too, which may be slow to answer, or only what is in the home folder.
    """
    if not (stones := home.store.people.tombstones.all()):
        return ()
    home.store.use_reserve()
    parts: list[Part] = [part for part in PARTS if elsewhere or not _is_elsewhere(home, part)]
    return tuple(_go_on(home, stone, parts) for stone in stones if set(stone.parts).intersection(parts))


def unfinished(user_key: str) -> Receipt:
    """Return the receipt of an erasure that goes on, since a service is slow to answer."""
    return Receipt(user_key=user_key, removed={}, left=("what a service that is slow to answer has",), at=now())


def export_user(store: Store, user_id: str) -> Iterator[str]:
    """Return all that the store knows of a user as JSON lines, each with its line break.

    The first line says whose they are, each other is one record: interactions, statements, alignments, persona versions
    and promotions. What was paid for stays in the journal, what opens a server stays here.

    All of it is as of one moment, and none of it is held in memory: it waits in a temporary file without a name.

    Raises:
        UnknownUserError: Nobody of this id is stored.
        StorageError: There is no room for the temporary file.
    """
    with writing(Path(gettempdir())), ExitStack() as failing:
        file = failing.enter_context(TemporaryFile("w+", encoding="utf-8", newline="\n"))
        count = sum(bool(file.write(_line(record))) for record in store.people.each(user_id))
        file.seek(0)
        failing.pop_all()
    return _lines(_Header(user_id=user_id, records=count), file)


def import_user(store: Store, lines: Iterable[str], user_id: str | None = None, *, source: str = "the export") -> User:
    """Store a user from the lines of an export: all of it, or on any error nothing.

    Args:
        store: Where to.
        lines: What `export_user` gave.
        user_id: Under which id; by default the one that the user had.
        source: Where the lines are from, as errors name it.

    Returns:
        The user, whose logs are equal to the exported ones.

    Raises:
        RecordError: A line is not one of an export, or lines are missing.
        InputError: Something is stored of this user, or the records do not fit each other.
        StorageError: The disk is full or refuses to write.
    """
    numbered = enumerate(lines, 1)
    header = next((_header(source, line) for _, line in numbered), None)
    if header is None:
        raise RecordError(source, "line 1", None, f"nothing is here: {_REMEDY}")
    records = [_record(source, f"line {number}", line) for number, line in numbered]
    if len(records) != header.records:
        raise RecordError(source, "line 1", "records", f"{header.records} are promised and {len(records)} are here")
    store.people.add(user_id or header.user_id, records)
    return store.user(user_id or header.user_id)


_FILES: tuple[Part, ...] = ("index", "files")
_OF_THE_FIRST = "what files hold: the process that has the home folder open removes it, a server within seconds"
_WORDS: dict[Part, str] = {
    "rows": "rows of the store",
    "index": "vectors in the files of the index",
    "files": "deleted rows in the files of the database",
    "tracking": "prompt versions, runs and artifacts in MLflow",
}


def _go_on(home: "Home", stone: Tombstone, parts: Sequence[Part]) -> Receipt:
    """Do those of some parts of an erasure that are left."""
    people = home.store.people
    removed: dict[str, int] = {}
    left: list[str] = []
    mine: list[Part] = [one for one in stone.parts if one in parts]
    for part in mine:
        try:
            _REMOVE[part](home, stone, removed, left)
            if part != "rows":
                people.tombstones.done(stone, part)
        except PersonaAgentError as error:
            _log.warning("user %s: not erased yet: %s: %s", stone.user_key, _WORDS[part], error)
            left.append(_WORDS[part])
    with suppress(StorageError):  # Somebody reads: the tombstone itself stands in the log for a while.
        if people.tombstones.find(stone.user_key) is None:
            people.forget_erasures()
    return Receipt(user_key=stone.user_key, removed=removed, left=tuple(left), at=now())


def _remove_rows(home: "Home", stone: Tombstone, removed: dict[str, int], _left: list[str]) -> None:
    removed |= home.store.people.erase_rows(stone)


def _remove_vectors(home: "Home", stone: Tombstone, removed: dict[str, int], left: list[str]) -> None:
    removed["episodes"] = home.store.people.erase_episodes(stone.user_key)
    if home.store.people.index_is_elsewhere:
        left.append("vectors in the Chroma server's folders that no collection uses: delete these there")


def _clean_files(home: "Home", _stone: Tombstone, _removed: dict[str, int], _left: list[str]) -> None:
    home.store.people.compact()


def _remove_copies(home: "Home", stone: Tombstone, removed: dict[str, int], left: list[str]) -> None:
    erased = home.mirrored.erase(stone.user_key, home.tracker)
    removed |= {"prompt_versions": erased.prompt_versions, "tracked_runs": erased.runs}
    if erased.kept:
        left.append(f"names and numbers of {len(erased.kept)} deleted runs on the MLflow server: run its `mlflow gc`")
    if not erased.is_compact:
        left.append("deleted rows in the files of MLflow's database: compact it where it is (SQLite: VACUUM)")


_REMOVE = {"rows": _remove_rows, "index": _remove_vectors, "files": _clean_files, "tracking": _remove_copies}


def _is_elsewhere(home: "Home", part: Part) -> bool:
    return {"index": home.store.people.index_is_elsewhere, "tracking": home.tracker.is_elsewhere}.get(part, False)


def _lines(header: _Header, file: TextIO) -> Iterator[str]:
    with file:
        yield header.to_json() + "\n"
        yield from file


def _line(record: Noun) -> str:
    fields = {"kind": _NAMES[type(record)], **json.loads(record.to_json())}
    return json.dumps(fields, ensure_ascii=False) + "\n"


def _header(source: str, line: str) -> _Header:
    try:
        return _Header.from_json(line)
    except ValidationError as error:
        raise RecordError(source, "line 1", None, f"{_first(error)}: {_REMEDY}") from error


def _record(source: str, where: str, line: str) -> Noun:
    try:
        fields = json.loads(line)
        kind = _KINDS[fields.pop("kind")]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise RecordError(source, where, "kind", f"this is not a record of a user: {_REMEDY}") from error
    try:
        return kind.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        raise RecordError(source, where, _NAMES[kind], _first(error)) from error


def _first(error: ValidationError) -> str:
    """Return what is wrong first, and where; never the value, which is a user's own words."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
