"""Users who are to be erased: noted before anything is removed, until nothing is left to remove."""

from typing import Literal, NamedTuple, get_args

from sqlalchemy import Connection, delete, exists, insert, select, update

from . import schema
from .database import Database
from .journal import now
from .rows import Handle

Part = Literal["rows", "index", "files", "tracking"]
"""What is removed of a user, in this order: rows of the store, vectors, deleted bytes in its files, MLflow's copies."""

PARTS: tuple[Part, ...] = get_args(Part)
_table = schema.erasures


class Tombstone(NamedTuple):
    """A user who is to be erased."""

    user_key: str
    at: str
    """When that was noted."""
    parts: tuple[Part, ...]
    """What is left to do."""


class Tombstones(Handle):
    """The erasures that are not finished. Of a user, only the key is here, and not for longer than needed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, user_key: str) -> Tombstone:
        """Note that a user is to be erased. Once this returns it will be done, whatever happens to the process.

        Raises:
            StorageError: The disk is full or refuses to write.
        """
        stone = Tombstone(user_key, now().isoformat(timespec="microseconds"), PARTS)
        row = {"user_key": user_key, "at": stone.at, "parts": " ".join(PARTS)}
        with self._database.write() as connection:
            connection.execute(delete(_table).where(_table.c.user_key == user_key))
            connection.execute(insert(_table).values(row))
        return stone

    def all(self) -> tuple[Tombstone, ...]:
        """Return every erasure that is not finished, oldest first."""
        columns = select(_table.c.user_key, _table.c.at, _table.c.parts)
        with self._database.read() as connection:
            rows = connection.execute(columns.order_by(_table.c.at, _table.c.user_key)).all()
        return tuple(Tombstone(key, at, _parts_in(parts)) for key, at, parts in rows)

    def find(self, user_key: str) -> Tombstone | None:
        """Return the unfinished erasure of a user; None if there is none."""
        return next((stone for stone in self.all() if stone.user_key == user_key), None)

    def done(self, stone: Tombstone, part: Part) -> None:
        """Note that a part is done. With the last one the tombstone goes; one that was noted anew stays as it is."""
        with self._database.write() as connection:
            strike(connection, stone, part)


def strike(connection: Connection, stone: Tombstone, part: Part) -> None:
    """Strike a part out of a tombstone, in a transaction."""
    this = (_table.c.user_key == stone.user_key) & (_table.c.at == stone.at)
    parts = connection.scalar(select(_table.c.parts).where(this))
    left = [one for one in (parts or "").split() if one != part]
    change = update(_table).where(this).values(parts=" ".join(left)) if left else delete(_table).where(this)
    connection.execute(change)


def _parts_in(text: str) -> tuple[Part, ...]:
    known: list[Part] = [part for part in PARTS if part in text.split()]
    return tuple(known)


def is_leaving(connection: Connection, user_key: str) -> bool:
    """Return whether rows of a user are still to be erased: until they are, nothing more is stored of the user."""
    rows_left = (_table.c.user_key == user_key) & _table.c.parts.contains("rows")
    return bool(connection.scalar(select(exists().where(rows_left))))
