"""The database under the store: its transactions, and its failures in our words."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import Any

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from ..errors import SetupError, StorageError
from .handle import Handle

BUSY_TIMEOUT_SECONDS = 30
"""How long one writer waits for another, in this or another process."""

_BEGIN = "personaagent_begin"
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON")
_REMEDIES = {
    "SQLITE_BUSY": "another process has been writing for too long; try again when it has ended",
    "SQLITE_CANTOPEN": "check that the folder exists and may be written to",
    "SQLITE_CORRUPT": "the file is damaged; put back a copy of it",
    "SQLITE_FULL": "free some space and try again",
    "SQLITE_NOTADB": "name a file that PersonaAgent made, or a new one",
    "SQLITE_READONLY": "make the file and its folder writable",
}


class Database(Handle):
    """One database and its two kinds of transaction. Threads may share it.

    What is said of transactions here is SQLite's; on a server they are as separate as the server keeps them by default,
    and of two writers that collide one gets a `StorageError`.

    Args:
        url: A `Path` names a SQLite file, made if it is not there; a text is any URL of SQLAlchemy.

    Raises:
        SetupError: The URL cannot be read, or its driver is not installed.
    """

    def __init__(self, url: str | Path) -> None:
        address = _address(url)
        self.location = str(url) if isinstance(url, Path) else address.render_as_string(hide_password=True)
        """What errors call it; without a password."""
        self._engine = _engine(address)
        self._writer = self._engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
        self._closed = False

    @contextmanager
    def read(self) -> Generator[Connection]:
        """Give a transaction that sees one state of the database, whatever others write meanwhile.

        Raises:
            SetupError: The database is closed.
            StorageError: The database could not be read.
        """
        with self._transaction(self._engine) as connection:
            yield connection

    @contextmanager
    def write(self) -> Generator[Connection]:
        """Give a transaction that no other writer overlaps: all of it is on disk at the end, or, on any error, nothing.

        Raises:
            SetupError: The database is closed.
            StorageError: The database could not be written.
        """
        with self._transaction(self._writer) as connection:
            yield connection

    def close(self) -> None:
        """Let go of the file or server. Closing twice does no harm."""
        self._closed = True
        self._engine.dispose()

    @contextmanager
    def _transaction(self, engine: Engine) -> Generator[Connection]:
        if self._closed:
            raise SetupError(f"{self.location}: the store is closed; open it again")
        try:
            with engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StorageError(f"{self.location}: {_explained(error)}") from error


def _address(url: str | Path) -> URL:
    if isinstance(url, Path):
        return URL.create("sqlite", database=str(url.absolute()))
    try:
        return make_url(url)
    except ArgumentError as error:
        raise SetupError("the store's URL cannot be read: write sqlite:///FILE, or pass a Path") from error


def _engine(address: URL) -> Engine:
    if address.get_backend_name() == "sqlite":
        return _sqlite_engine(address)
    try:
        return create_engine(address, hide_parameters=True)
    except (ImportError, NoSuchModuleError) as error:
        raise SetupError(f"no driver for {address.drivername!r} is installed: {error}") from error


def _sqlite_engine(address: URL) -> Engine:
    options: dict[str, Any] = {}
    if address.database in {None, "", ":memory:"}:
        # A database in memory is its one connection, so threads take turns on it.
        options = {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0}
    connecting = {"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False}
    engine = create_engine(address, connect_args=connecting, hide_parameters=True, **options)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: SqliteConnection, _record: object) -> None:
    # Left alone, sqlite3 begins a transaction only at the first change: too late for reads and for CREATE TABLE.
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))


def _explained(error: SQLAlchemyError) -> str:
    """Return what happened and what to do; never the values of a query, which are a user's own words."""
    if not isinstance(error, DBAPIError):
        return f"{type(error).__name__}; nothing of this call was stored"
    code = str(getattr(error.orig, "sqlite_errorname", ""))
    remedy = next((remedy for name, remedy in _REMEDIES.items() if code.startswith(name)), "check the disk")
    return f"{error.orig}; nothing of this call was stored: {remedy}"
