"""The database under the store: its transactions, and its failures in our words."""

import hashlib
import logging
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Self

from sqlalchemy import URL, Connection, Engine, Executable, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ..errors import ErasedUserError, FullError, PersonaAgentError, SetupError, StorageError
from ..files import close_to_others, private_file
from ..nouns import Handle
from .engines import HOLD_NAME, SHARING, TRY_NAME, address_of, compact, engines_at, forget_erasures
from .log import N, read

_NOTHING = "nothing of this call was stored"
_UNKNOWN = "whether this call was stored is not known"
_BUSY = "another process has been writing for too long; try again when it has ended"
_AWAY = "check the URL, and that the server is up"
_RIGHTS = "let this user make tables in the database and write to them"
_REMEDIES = {
    "SQLITE_BUSY": _BUSY,
    "SQLITE_CANTOPEN": "check that the folder exists and may be written to",
    "SQLITE_CORRUPT": "the file is damaged; put back a copy of it",
    "SQLITE_FULL": "free some space and try again",
    "SQLITE_NOTADB": "name a file that PersonaAgent made, or a new one",
    "SQLITE_READONLY": "make the file and its folder writable",
    "SQLITE": "check the disk",
    "22P05": "make the database with the encoding UTF8",
    "25006": "name the server that may be written to, not its copy",
    "3F000": _RIGHTS,
    "42501": _RIGHTS,
    "53100": "free some space on the server and try again",
    "53300": "try again when other programs have let go of the server",
    "55P03": _BUSY,
    "57P": _AWAY,
    "OperationalError": _AWAY,
}
"""By how the error's code begins: SQLite's own names, PostgreSQL's SQLSTATE, or the class of an error without one."""
_REMEDY = "look in the server's log"
_LOOK_SECONDS = 0.5
_LEAVE_SECONDS = 5.0
_STILL_THERE = text("SELECT 1")
_log = logging.getLogger(__name__)


class Database(Handle):
    """One database and its kinds of transaction. Threads may share it.

    Args:
        url: A `Path` names a SQLite file, made if it is not there; a text is a URL of SQLite or PostgreSQL.

    Raises:
        SetupError: The URL cannot be read, is of another database, or its driver is not installed. Of all methods: the
            database is closed.
        StorageError: Of all methods: the database cannot be read or written.
    """

    def __init__(self, url: str | Path) -> None:
        address = address_of(url)
        self.location = str(url) if isinstance(url, Path) else address.set(query={}).render_as_string()
        """What errors call it; without a password."""
        if (file := _file_of(address)) is not None:
            _make_private(file)
        self._engines = engines_at(address)
        # SQLite lets one write at a time, and has those who wait look again after ever longer sleeps.
        self._writing = threading.RLock() if address.drivername == "sqlite" else nullcontext()
        self._closed = False
        self.disk = DiskSpace(file, self.location)

    def read(self) -> AbstractContextManager[Connection]:
        """Give a transaction that sees one state of the database, whatever others write meanwhile."""
        return self._transaction(self._engines.reading)

    @contextmanager
    def write(self) -> Generator[Connection]:
        """Give a transaction that no other writer overlaps: its end puts all of it on disk, an error nothing."""
        with self._writing, self._transaction(self._engines.writing) as connection:
            yield connection

    @contextmanager
    def append(self, *, noting: bool = False) -> Generator[Connection]:
        """Give a transaction that writes as `write` does, but may overlap others where the database lets it.

        It is for rows that depend on no other row: no number that follows another, no check of what is there. Those
        that several writers may add at once must be added in one order, or two could wait for each other.

        Args:
            noting: Whether a power cut may undo it until another write that is no note has ended. SQLite does not wait
                for the disk then, which takes twice as long as all the rest. What is noted is about to be paid for, so
                there must be space for what comes of it.
        """
        if noting:
            self.disk.check()
        engine = self._engines.noting if noting else self._engines.appending
        with self._writing, self._transaction(engine) as connection:
            yield connection

    def fetch(self, statement: Executable, values: Mapping[str, object] | None = None) -> Sequence[Sequence[Any]]:
        """Return the rows of one statement that reads."""
        with self.read() as connection:
            return connection.execute(statement, values).all()

    def nouns(self, kind: type[N], statement: Executable, values: Mapping[str, object] | None = None) -> tuple[N, ...]:
        """Return the nouns whose JSON one statement reads."""
        return tuple(read(kind, noun) for (noun,) in self.fetch(statement, values))

    def noun(self, kind: type[N], statement: Executable, values: Mapping[str, object] | None = None) -> N | None:
        """Return the first noun whose JSON one statement reads; None if it reads no row."""
        rows = self.fetch(statement, values)
        return read(kind, rows[0][0]) if rows else None

    def alone(self, name: str) -> AbstractContextManager[object]:
        """Let one process at a time do what goes by a name: others wait until it is done, or its process is gone."""
        return self._holding(name)

    def kept(self, name: str) -> "Lease":
        """Return the right to a name, as `alone` gives it, that survives when the server is away for a while."""
        return Lease(lambda: self._holding(name))

    def is_held(self, name: str) -> bool:
        """Return whether some process does what goes by a name."""
        self._check_shared()
        with self._transaction(self._engines.appending) as connection:
            return not connection.scalar(TRY_NAME, {"number": _number_of(name)})

    def compact(self) -> None:
        """Leave nothing in the database's files of what was deleted: they are written anew without it.

        SQLite's are the file and its write-ahead log. In PostgreSQL they are those of the tables, each of which is
        locked meanwhile; what the server's own write-ahead log and backups hold goes when its administrator lets it.
        """
        self._maintain(compact)

    def forget_erasures(self) -> None:
        """Leave nothing in the database's files of erasures that are finished; raises what `compact` raises."""
        self._maintain(forget_erasures)

    def close(self) -> None:
        """Close the file, or the connections to the server. Closing twice does no harm."""
        self._closed = True
        self._engines.dispose()

    @contextmanager
    def _holding(self, name: str) -> Generator[Connection]:
        self._check_shared()
        with self._transaction(self._engines.appending) as connection:
            connection.execute(HOLD_NAME, {"number": _number_of(name)})
            yield connection

    def _maintain(self, task: Callable[[Connection], bool]) -> None:
        with self._transaction(self._engines.maintaining) as connection:
            if not task(connection):
                raise StorageError(f"{self.location}: others have been reading for too long; try again when they ended")

    def _check_shared(self) -> None:
        if self._engines.appending.dialect.name == "sqlite":
            raise SetupError(f"{self.location}: several machines can share PostgreSQL only: {SHARING}")

    @contextmanager
    def _transaction(self, engine: Engine) -> Generator[Connection]:
        if self._closed:
            raise SetupError(f"{self.location}: the store is closed; open it again")
        try:
            with engine.begin() as connection:
                yield connection
        except (SQLAlchemyError, sqlite3.Error) as error:
            if _code(error) in {"SQLITE_CONSTRAINT_FOREIGNKEY", "23503"}:
                raise ErasedUserError from None  # What the row is about is gone: a user who has rows was erased.
            if _code(error) in {"SQLITE_FULL", "53100"}:
                self.disk.note_full()
            # A driver's own error may quote the row that it failed at.
            cause = None if isinstance(error, DBAPIError | sqlite3.Error) else error
            raise StorageError(f"{self.location}: {_explained(error)}") from cause


class Lease:
    """Holds a name while the block runs: a thread checks it, and takes it again after the connection was lost.

    Raises:
        StorageError: On entering it: the server cannot be reached.
    """

    def __init__(self, hold: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._hold = hold
        self._over, self._tried = threading.Event(), threading.Event()
        self._failed: PersonaAgentError | None = None
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._tried.wait()
        if self._failed is not None:
            raise self._failed
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(_LEAVE_SECONDS)

    def _keep(self) -> None:
        while not self._over.is_set():
            try:
                with self._hold() as connection:
                    self._tried.set()
                    while not self._over.wait(_LOOK_SECONDS):
                        connection.execute(_STILL_THERE)
            except PersonaAgentError as error:
                if not self._tried.is_set():
                    self._failed = error
                    self._over.set()
                _log.warning("a worker's name was lost, and is taken again: %s", type(error).__name__)
                self._tried.set()
                self._over.wait(_LOOK_SECONDS)


def _explained(error: SQLAlchemyError | sqlite3.Error) -> str:
    """Return what happened and what to do; never the values of a query, which are a user's own words."""
    if not isinstance(error, DBAPIError | sqlite3.Error):
        return f"{type(error).__name__}; {_NOTHING}"
    code = _code(error)
    remedy = next((remedy for beginning, remedy in _REMEDIES.items() if code.startswith(beginning)), _REMEDY)
    # A server that is gone may have done what it was told before it went.
    outcome = _UNKNOWN if isinstance(error, DBAPIError) and error.connection_invalidated else _NOTHING
    return f"{_message(error)}; {outcome}: {remedy}"


def _code(error: SQLAlchemyError | sqlite3.Error) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None)
    return str(code or type(error).__name__)


def _message(error: DBAPIError | sqlite3.Error) -> str:
    """Return the first sentence of a driver's error: PostgreSQL's others quote the row that failed."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    primary = getattr(getattr(cause, "diag", None), "message_primary", None)
    return primary or " ".join(str(cause).split())


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


_RESERVE_BYTES = 16 << 20
_LEAST_BYTES = 8 << 20
_FULL_SECONDS = 30.0
"""How long a database that refused to write for lack of space counts as full."""


class DiskSpace:
    """The space that a database has.

    Args:
        file: Its file; None if it is in memory or on a server, which then alone knows.
        name: What errors call it.
    """

    def __init__(self, file: Path | None, name: str) -> None:
        self._folder = file and file.parent
        self._reserve = file and file.with_suffix(".reserve")
        self._name, self._full_since = name, -_FULL_SECONDS

    def note_full(self) -> None:
        """Note that the database refused to write for lack of space."""
        self._full_since = time.monotonic()

    def check(self) -> None:
        """Return if there is space to write; raises `FullError` if there is hardly any."""
        is_full = time.monotonic() - self._full_since < _FULL_SECONDS
        if is_full or (self._folder is not None and not (self._is_enough(0) and self._is_reserved())):
            raise FullError(f"{self._name}: the disk is full, or nearly: free some space and try again")

    def use_reserve(self) -> None:
        """Free the reserve if the disk is full; `check` makes a new one as soon as there is space again."""
        if self._reserve is not None and not self._is_enough(0):
            self._reserve.unlink(missing_ok=True)

    def _is_enough(self, more: int) -> bool:
        return self._folder is None or shutil.disk_usage(self._folder).free >= _LEAST_BYTES + more

    def _is_reserved(self) -> bool:
        if self._reserve is None or self._reserve.exists():
            return True
        if not self._is_enough(_RESERVE_BYTES):
            return False
        try:
            _fill(self._reserve)
        except OSError:
            self._reserve.unlink(missing_ok=True)
            return False
        return True


def _fill(file: Path) -> None:
    opened = os.open(file, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(opened, 0, _RESERVE_BYTES)
        else:
            os.write(opened, bytes(_RESERVE_BYTES))
    finally:
        os.close(opened)
