"""Whole users: all that is stored of one person, taken out, taken in, and erased."""

from collections.abc import Container, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, bindparam, insert, select

from ..alignment import Alignment
from ..errors import ErasedUserError, InputError, UnknownUserError
from ..interaction import Interaction
from ..nouns import Noun
from ..persona import PersonaVersion
from ..statement import Statement
from . import tables
from .database import Database
from .erasure import Tombstone, Tombstones, erase_rows, is_leaving, strike
from .interactions import INTERACTIONS
from .log import Log, UserTable, check_id, next_number, user_key
from .personas import ALIGNMENTS, PROMOTIONS, VERSIONS, Promotion
from .statements import STATEMENTS

if TYPE_CHECKING:
    from ..memory.chroma_index import EpisodeIndex

_Noun = TypeVar("_Noun", bound=Noun)
_TABLES: tuple[UserTable[Any], ...] = (INTERACTIONS, STATEMENTS, ALIGNMENTS, VERSIONS, PROMOTIONS)
"""In an order in which each refers only to what stands before it."""
_users = tables.users
_OF_ID = select(_users.c.key).where(_users.c.user_id == bindparam("user_id"))


class People(Log):
    """The users of a store, each as a whole."""

    def __init__(self, database: Database, index: "EpisodeIndex | None") -> None:
        super().__init__(database)
        self._index = index
        self.tombstones = Tombstones(database)
        """The erasures that are not finished."""

    def each(self, user_id: str) -> Iterator[Noun]:
        """Yield the records of a user, all as of one moment; few of them are in memory at once.

        Yields:
            Interactions, statements, alignments, persona versions and promotions, each in the order in which they were
            stored. A version has the status under which it was recorded: which is live is told by the promotions.
        """
        check_id("user id", user_id)
        with self._database.read() as connection:
            if connection.scalar(_OF_ID, {"user_id": user_id}) is None:
                raise UnknownUserError(user_id)
            yield from _records(connection, user_key(user_id))

    def add(self, user_id: str, records: Sequence[Noun]) -> None:
        """Store what `each` yielded as a user of whom nothing is stored yet: all of it, or on any error nothing.

        Raises:
            InputError: Something is stored of this user, or the records do not fit each other.
        """
        check_id("user id", user_id)
        _check(records)
        key = user_key(user_id)
        with self._database.write() as connection:
            add_user(connection, user_id)
            if tuple(_records(connection, key)):
                raise InputError(f"user {user_id!r} has records here: erase them first, or choose another user id")
            for table in _TABLES:
                table.append(connection, key, _of(table.kind, records))

    def erase(self, user_id: str) -> dict[str, int]:
        """Note that a user is to be erased, then delete every row that is the user's; see `erase_rows`.

        It is no error if no user of this id is stored. The tombstone stays until the other parts are done as well.
        """
        check_id("user id", user_id)
        return self.erase_rows(self.tombstones.add(user_key(user_id)))

    def erase_rows(self, stone: Tombstone) -> dict[str, int]:
        """Delete every row of a user, those of the journal and of a server included; return their number by table.

        What was deleted is out of reach then, but may stand in the database's files until `Database.compact`.
        """
        with self._database.write() as connection:
            removed = erase_rows(connection, stone.user_key)
            strike(connection, stone, "rows")
        return removed

    def erase_episodes(self, user_key: str) -> int:
        """Erase the vectors of a user's interactions, in files within reach too; return how many there were."""
        return 0 if self._index is None else self._index.erase(user_key)

    @property
    def index_is_elsewhere(self) -> bool:
        """Whether the files of the index are a server's, and out of reach."""
        return self._index is not None and self._index.is_elsewhere


def add_user(connection: Connection, user_id: str) -> None:
    """Store a user, if new, in a transaction; raises `ErasedUserError` while an earlier one is still to be erased."""
    if is_leaving(connection, user_key(user_id)):
        raise ErasedUserError(user_id)
    if connection.scalar(_OF_ID, {"user_id": user_id}) is None:
        row = {"key": user_key(user_id), "user_id": user_id, "ordinal": next_number(connection, _users.c.ordinal)}
        connection.execute(insert(_users).values(row))


def _records(connection: Connection, key: str) -> Iterator[Noun]:
    for table in _TABLES:
        yield from table.each(connection, key)


def _of(kind: type[_Noun], records: Iterable[Noun]) -> list[_Noun]:
    return [noun for noun in records if isinstance(noun, kind)]


def _check(records: Sequence[Noun]) -> None:
    for table in _TABLES:
        for field in table.unique:
            _check_unique(table.kind, field, [getattr(noun, field) for noun in _of(table.kind, records)])
    versions = _of(PersonaVersion, records)
    _check_versions(versions)
    interactions = {interaction.interaction_id for interaction in _of(Interaction, records)}
    alignments = {alignment.alignment_id: alignment.base_version for alignment in _of(Alignment, records)}
    numbers = {version.number for version in versions}
    cited = {name for statement in _of(Statement, records) for name in statement.evidence}
    _check_known("interaction", cited, interactions)
    _check_known("alignment", {version.alignment_id for version in versions}, alignments)
    _check_known("persona version", {version.parent for version in versions}, numbers)
    _check_known("persona version", alignments.values(), numbers)
    _check_known("persona version", {promotion.number for promotion in _of(Promotion, records)}, numbers)


def _check_unique(kind: type[Noun], field: str, values: Sequence[object]) -> None:
    seen: set[object] = set()
    for value in values:
        if value in seen:
            raise InputError(f"two {kind.__name__}s have the {field} {value!r}: it must tell them apart")
        seen.add(value)


def _check_versions(versions: Sequence[PersonaVersion]) -> None:
    numbers = sorted(version.number for version in versions)
    if numbers != list(range(1, len(numbers) + 1)):
        raise InputError(f"persona versions are numbered from 1 without gaps, and these are {numbers}")
    for version in versions:
        if version.status not in ("candidate", "rejected"):
            raise InputError(f"persona version {version.number} is {version.status}: that is for promotions to tell")


def _check_known(kind: str, named: Iterable[str | int | None], known: Container[object]) -> None:
    for name in named:
        if name is not None and name not in known:
            raise InputError(f"{kind} {name!r} is referred to, and is not among the records")
