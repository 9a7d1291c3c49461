"""The database under the store: its transactions, and its failures in our words."""

import hashlib
import sqlite3
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from threading import RLock
from typing import Any

from sqlalchemy import URL, Connection, Engine, Executable
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ..errors import ErasedUserError, SetupError, StorageError
from ..private import close_to_others, private_file
from .compacting import compacted, settled
from .engines import HOLD_NAME, SHARING, TRY_NAME, address_of, engines_at
from .failures import explained, is_full, refers_to_nothing
from .lease import Lease
from .room import Room
from .rows import Handle


class Database(Handle):
    """One database and its kinds of transaction. Threads may share it.

    Args:
        url: A `Path` names a SQLite file, made if it is not there; a text is a URL of SQLite or PostgreSQL.

    Raises:
        SetupError: The URL cannot be read, is of another database, or its driver is not installed.
    """

    def __init__(self, url: str | Path) -> None:
        address = address_of(url)
        self.location = str(url) if isinstance(url, Path) else address.set(query={}).render_as_string()
        """What errors call it; without a password."""
        if (file := _file_of(address)) is not None:
            _make_private(file)
        self._engines = engines_at(address)
        # SQLite lets one write at a time, and has those who wait look again after ever longer sleeps.
        self._writing = RLock() if address.drivername == "sqlite" else nullcontext()
        self._closed = False
        self.room = Room(_file_of(address), self.location)
        """What the disk has left."""

    @contextmanager
    def read(self) -> Generator[Connection]:
        """Give a transaction that sees one state of the database, whatever others write meanwhile.

        Raises:
            SetupError: The database is closed.
            StorageError: The database could not be read.
        """
        with self._transaction(self._engines.reading) as connection:
            yield connection

    @contextmanager
    def write(self) -> Generator[Connection]:
        """Give a transaction that no other writer overlaps: all of it is on disk at the end, or, on any error, nothing.

        Raises:
            SetupError: The database is closed.
            StorageError: The database could not be written.
        """
        with self._writing, self._transaction(self._engines.writing) as connection:
            yield connection

    def fetch(self, statement: Executable, values: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        """Return the rows of one statement that reads; raises what `read` raises."""
        with self.read() as connection:
            return connection.execute(statement, values).all()

    @contextmanager
    def append(self, *, noting: bool = False) -> Generator[Connection]:
        """Give a transaction that writes as `write` does, but may overlap others where the database lets it.

        It is for rows that depend on no other row: no number that follows another, no check of what is there. Those
        that several writers may add at once must be added in one order, or two could wait for each other.

        Args:
            noting: Whether a power cut may take it until another write that is no note has ended. SQLite does not wait
                for the disk then, which takes twice as long as all the rest. What is noted is about to be paid for, so
                there must be room for what comes of it.

        Raises:
            SetupError: The database is closed.
            FullError: There is no room.
            StorageError: The database could not be written.
        """
        if noting:
            self.room.check()
        engine = self._engines.noting if noting else self._engines.appending
        with self._writing, self._transaction(engine) as connection:
            yield connection

    @contextmanager
    def alone(self, name: str) -> Generator[None]:
        """Let one process at a time do what goes by a name: others wait until it is done, or its process is gone.

        Raises:
            SetupError: The database is closed, or is SQLite, which one machine has to itself.
            StorageError: The server cannot be reached, or gave the name to another.
        """
        with self._holding(name):
            yield

    def kept(self, name: str) -> Lease:
        """Return the right to a name, as `alone` gives it, that outlives a server which is away for a while."""
        return Lease(lambda: self._holding(name))

    def is_held(self, name: str) -> bool:
        """Return whether some process does what goes by a name; raises what `alone` raises."""
        self._must_be_shared()
        with self._transaction(self._engines.appending) as connection:
            return not connection.scalar(TRY_NAME, {"number": _number_of(name)})

    def compact(self) -> None:
        """Leave nothing in the database's files of what was deleted: they are written anew without it.

        SQLite's are the file and its write-ahead log. In PostgreSQL they are those of the tables, each of which is
        locked meanwhile; what the server's own write-ahead log and backups hold goes when its administrator lets it.

        Raises:
            SetupError: The database is closed.
            StorageError: There is no room for a copy, or others have been reading or writing for too long.
        """
        self._maintain(compacted)

    def settle(self) -> None:
        """Leave nothing in the database's files of erasures that are finished; raises what `compact` raises."""
        self._maintain(settled)

    def close(self) -> None:
        """Let go of the file or server. Closing twice does no harm."""
        self._closed = True
        self._engines.dispose()

    @contextmanager
    def _holding(self, name: str) -> Generator[Connection]:
        self._must_be_shared()
        with self._transaction(self._engines.appending) as connection:
            connection.execute(HOLD_NAME, {"number": _number_of(name)})
            yield connection

    def _maintain(self, work: Callable[[Connection], bool]) -> None:
        with self._transaction(self._engines.maintaining) as connection:
            if not work(connection):
                raise StorageError(f"{self.location}: others have been reading for too long; try again when they ended")

    def _must_be_shared(self) -> None:
        if self._engines.appending.dialect.name == "sqlite":
            raise SetupError(f"{self.location}: several machines can share PostgreSQL only: {SHARING}")

    @contextmanager
    def _transaction(self, engine: Engine) -> Generator[Connection]:
        with self._explained(), engine.begin() as connection:
            yield connection

    @contextmanager
    def _explained(self) -> Generator[None]:
        """Let the database's failures out as ours."""
        if self._closed:
            raise SetupError(f"{self.location}: the store is closed; open it again")
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            if refers_to_nothing(error):
                raise ErasedUserError from None
            if is_full(error):
                self.room.note_full()
            # A driver's own error may quote the row that it failed at.
            cause = None if isinstance(error, DBAPIError | sqlite3.Error) else error
            raise StorageError(f"{self.location}: {explained(error)}") from cause


def _make_private(file: Path) -> None:
    with suppress(OSError):  # SQLite says better what is wrong.
        private_file(file)
    for beside in file.parent.glob(f"{file.name}-*"):  # From now on SQLite gives them the rights of the file.
        close_to_others(beside)


def _file_of(address: URL) -> Path | None:
    name = address.database or ":memory:"
    return None if address.drivername != "sqlite" or name.startswith((":memory:", "file:")) else Path(name)


def _number_of(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
