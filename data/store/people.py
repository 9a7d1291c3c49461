"""Whole users: all that is stored of one person, taken out, taken in, and erased."""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from sqlalchemy import Connection, TableClause, insert, select

from ..alignment import Alignment
from ..errors import InputError, UnknownUserError
from ..interaction import Interaction
from ..nouns import Noun
from ..persona import PersonaVersion
from ..statement import Statement
from . import schema
from .database import Database
from .erasure import erase_rows
from .interactions import counts_of
from .personas import Promotion
from .rows import Handle, check_id, read, written
from .tombstones import Tombstone, Tombstones, strike
from .user import user_key

if TYPE_CHECKING:
    from ..memory.chroma_index import EpisodeIndex

_Noun = TypeVar("_Noun", bound=Noun)
_READ_AT_ONCE = 5
"""Rows that are in memory at once: one may have a megabyte."""


class _Log(NamedTuple):
    """How the nouns of one kind rest."""

    kind: type[Noun]
    table: TableClause
    place: str
    """The column that tells their order."""
    columns: tuple[str, ...]
    """Fields that are columns too."""
    distinct: tuple[str, ...]
    """Fields in which no two of one user are the same."""


_LOGS = (
    _Log(
        Interaction,
        schema.interactions,
        "position",
        columns=("interaction_id", "position"),
        distinct=("interaction_id", "position"),
    ),
    _Log(Statement, schema.statements, "ordinal", columns=("statement_id", "topic"), distinct=("statement_id",)),
    _Log(Alignment, schema.alignments, "ordinal", columns=("alignment_id",), distinct=("alignment_id",)),
    _Log(PersonaVersion, schema.persona_versions, "number", columns=("number",), distinct=("number",)),
    _Log(Promotion, schema.promotions, "ordinal", columns=("number",), distinct=()),
)
"""In an order in which each refers only to what stands before it."""


class People(Handle):
    """The users of a store, each as a whole.

    Args:
        database: Where they rest.
        index: Finds episodes by meaning, if there is one.
        add_user: Stores a user, if new, in a transaction.
    """

    def __init__(
        self, database: Database, index: "EpisodeIndex | None", add_user: Callable[[Connection, str], None]
    ) -> None:
        self._database, self._index, self._add_user = database, index, add_user
        self.tombstones = Tombstones(database)
        """The erasures that are not finished."""

    def records(self, user_id: str) -> tuple[Noun, ...]:
        """Return what `each` yields."""
        return tuple(self.each(user_id))

    def each(self, user_id: str) -> Iterator[Noun]:
        """Yield the records of a user, all as of one moment; few of them are in memory at once.

        Yields:
            Interactions, statements, alignments, persona versions and promotions, each in the order in which they were
            stored. A version has the status under which it was recorded: which is live is told by the promotions.

        Raises:
            UnknownUserError: Nobody of this id is stored.
        """
        check_id("user id", user_id)
        with self._database.read() as connection:
            if connection.scalar(select(schema.users.c.key).where(schema.users.c.user_id == user_id)) is None:
                raise UnknownUserError(user_id)
            yield from _records(connection, user_key(user_id))

    def add(self, user_id: str, records: Sequence[Noun]) -> None:
        """Store what `records` returned, here or in another store, as a user of whom nothing is stored yet.

        All of it is stored, or on any error nothing.

        Raises:
            InputError: Something is stored of this user, or the records do not fit each other.
            StorageError: The disk is full or refuses to write.
        """
        check_id("user id", user_id)
        _check(records)
        with self._database.write() as connection:
            self._add_user(connection, user_id)
            if tuple(_records(connection, user_key(user_id))):
                raise InputError(f"user {user_id!r} has records here: erase them first, or choose another user id")
            for log in _LOGS:
                rows = [_row(log, user_key(user_id), place, noun) for place, noun in enumerate(_of(log.kind, records))]
                if rows:
                    connection.execute(insert(log.table), rows)

    def announce(self, user_key: str) -> Tombstone:
        """Note that a user is to be erased: from now on nothing is stored of the user; see `Tombstones.add`."""
        return self.tombstones.add(user_key)

    def erase(self, user_id: str) -> dict[str, int]:
        """Note that a user is to be erased, then delete every row that is the user's; see `erase_rows`.

        It is no error if nobody of this id is stored. The tombstone stays until the other parts are done as well.

        Returns:
            How many rows were deleted, by table.

        Raises:
            StorageError: The database refuses to write; nothing was deleted, and perhaps it was noted.
        """
        check_id("user id", user_id)
        return self.erase_rows(self.tombstones.add(user_key(user_id)))

    def erase_rows(self, stone: Tombstone) -> dict[str, int]:
        """Delete every row that is of a user: the user's own, those of the journal and those of a server.

        What was deleted is out of reach then, but some of it may stand in the database's files until `compact`.

        Returns:
            How many rows were deleted, by table.

        Raises:
            StorageError: The database refuses to write; nothing was deleted.
        """
        with self._database.write() as connection:
            removed = erase_rows(connection, stone.user_key)
            strike(connection, stone, "rows")
        return removed

    def erase_episodes(self, user_key: str) -> int:
        """Erase the vectors of a user's interactions, in files within reach too; return how many there were.

        Raises:
            StorageError: The index could not be written.
        """
        return 0 if self._index is None else self._index.erase(user_key)

    @property
    def index_is_elsewhere(self) -> bool:
        """Whether the files of the index are a server's, and out of reach."""
        return self._index is not None and self._index.is_elsewhere

    def compact(self) -> None:
        """Leave nothing of what was deleted in the database's files; see `Database.compact`."""
        self._database.compact()

    def settle(self) -> None:
        """Leave nothing in the database's files of tombstones that went."""
        self._database.settle()


def _records(connection: Connection, key: str) -> Iterator[Noun]:
    for log in _LOGS:
        table = log.table.c
        nouns = select(table.noun).where(table.user_key == key).order_by(table[log.place])
        with closing(connection.scalars(nouns, execution_options={"yield_per": _READ_AT_ONCE})) as found:
            yield from (read(log.kind, noun) for noun in found)


def _row(log: _Log, key: str, place: int, noun: Noun) -> dict[str, object]:
    columns = {name: getattr(noun, name) for name in log.columns}
    for name, value in columns.items():
        if isinstance(value, str):
            check_id(name, value)
    text = written(noun)
    counted = counts_of(noun, text) if isinstance(noun, Interaction) else {}
    return {"user_key": key, log.place: place, **columns, **counted, "noun": text}


def _of(kind: type[_Noun], records: Iterable[Noun]) -> list[_Noun]:
    return [noun for noun in records if isinstance(noun, kind)]


def _check(records: Sequence[Noun]) -> None:
    for log in _LOGS:
        for field in log.distinct:
            _check_distinct(log.kind, field, [getattr(noun, field) for noun in _of(log.kind, records)])
    versions = _of(PersonaVersion, records)
    _check_versions(versions)
    interactions = {one.interaction_id for one in _of(Interaction, records)}
    alignments = {one.alignment_id: one.base_version for one in _of(Alignment, records)}
    numbers = {version.number for version in versions}
    cited = {name for statement in _of(Statement, records) for name in statement.evidence}
    _check_known("interaction", cited, interactions)
    _check_known("alignment", {version.alignment_id for version in versions}, alignments)
    _check_known("persona version", {version.parent for version in versions}, numbers)
    _check_known("persona version", alignments.values(), numbers)
    _check_known("persona version", {promotion.number for promotion in _of(Promotion, records)}, numbers)


def _check_distinct(kind: type[Noun], field: str, values: Sequence[object]) -> None:
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
