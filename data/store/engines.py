"""The two databases that can carry the store: how each is opened, begins a transaction, and is compacted."""

from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import Any, NamedTuple

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, OperationalError

from ..errors import SetupError
from .tables import erasures, metadata

BUSY_TIMEOUT_SECONDS = 10
"""How long one writer waits for another, in this or another process."""

_KEPT_OPEN = 16
"""SQLite's connections that stay open: to open one takes 10 ms."""
_BEGIN = "personaagent_begin"
_WRITING = "BEGIN IMMEDIATE"
"""How SQLite begins what may write."""
_DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
}
_REMEDY = "write sqlite:///FILE or postgresql://USER@HOST/NAME, or pass a Path"
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON")

# PostgreSQL by itself lets writers overlap, and two of them would give the same next number. The lock is given back
# when the transaction ends, however it ends.
_TAKE_LOCK = (
    f"SELECT pg_advisory_xact_lock({int.from_bytes(b'persona')}) "  # noqa: S608
    f"FROM set_config('lock_timeout', '{BUSY_TIMEOUT_SECONDS}s', true)"
)

# A machine that is cut off must not keep a name for the hours that TCP would wait for it. The name is given back when
# the transaction ends, which may be hours from now: it reads nothing, and must not be ended for idleness.
HOLD_NAME = text(
    "SELECT set_config('tcp_keepalives_idle', '10', true), set_config('tcp_keepalives_interval', '5', true), "
    "set_config('tcp_keepalives_count', '3', true), set_config('idle_in_transaction_session_timeout', '0', true), "
    "pg_advisory_xact_lock(:number)"
)
"""Waits until no other process has the name of this number, and takes it."""
TRY_NAME = text("SELECT pg_try_advisory_xact_lock(:number)")
"""Takes the name of this number if no other process has it, and returns whether it did."""

SHARING = "set PERSONAAGENT_DATABASE to postgresql://USER@HOST/NAME"
"""How several machines share one store."""


class Engines(NamedTuple):
    """One database's engine for each kind of transaction, and for none (`maintaining`).

    All share their connections, but `noting` in SQLite: its transactions do not wait for the disk. They survive the end
    of their process at once, and a power cut as soon as one of another kind has ended, since SQLite writes one log.
    """

    reading: Engine
    writing: Engine
    appending: Engine
    noting: Engine
    maintaining: Engine

    def dispose(self) -> None:
        """Close every connection."""
        self.reading.dispose()
        self.noting.dispose()


def address_of(url: str | Path) -> URL:
    """Return where a database is, and by which driver it is reached."""
    if isinstance(url, Path):
        return URL.create("sqlite", database=str(url.absolute()))
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        # What was raised may quote the URL, and so a password.
        raise SetupError(f"the store's URL cannot be read: {_REMEDY}") from None
    if address.drivername not in _DRIVERS:
        raise SetupError(f"{address.drivername!r} cannot carry the store: {_REMEDY}")
    return address.set(drivername=_DRIVERS[address.drivername])


def engines_at(address: URL) -> Engines:
    """Return the engines of a database, which is not asked for anything yet."""
    return _sqlite(address) if address.drivername == "sqlite" else _postgresql(address)


def _sqlite(address: URL) -> Engines:
    # The connection that was used last is used next: what others have cached of the file is out of date.
    options: dict[str, Any] = {"pool_size": _KEPT_OPEN, "max_overflow": 4 * _KEPT_OPEN, "pool_use_lifo": True}
    if is_in_memory := address.database in {None, "", ":memory:"}:
        # A database in memory is its one connection, so threads take turns on it.
        options = {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0}
    options |= {"connect_args": {"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False}, "hide_parameters": True}
    engine = create_engine(address, **options)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    writing = noting = engine.execution_options(**{_BEGIN: _WRITING})
    if not is_in_memory:
        noting = create_engine(address, **options)
        event.listen(noting, "connect", _prepare_for_notes)
        event.listen(noting, "begin", _begin)
        noting = noting.execution_options(**{_BEGIN: _WRITING})
    reading = engine.execution_options(**{_BEGIN: "BEGIN"})
    return Engines(reading=reading, writing=writing, appending=writing, noting=noting, maintaining=engine)


def _postgresql(address: URL) -> Engines:
    try:
        # A database that is not in UTF-8 would else have the driver fail at what it cannot hold, or give bytes.
        connecting = {"client_encoding": "utf8"}
        engine = create_engine(address, connect_args=connecting, hide_parameters=True, pool_pre_ping=True)
    except ImportError as error:
        raise SetupError("PostgreSQL's driver is not installed: pip install personaagent[postgres]") from error
    event.listen(engine, "begin", _begin)
    # Each statement of a writer must see what was committed while it waited for the lock.
    appending = engine.execution_options(isolation_level="READ COMMITTED")
    return Engines(
        reading=engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True),
        writing=appending.execution_options(**{_BEGIN: _TAKE_LOCK}),
        appending=appending,
        noting=appending,
        maintaining=engine.execution_options(isolation_level="AUTOCOMMIT"),
    )


def _prepare(connection: SqliteConnection, _record: object) -> None:
    # Left alone, sqlite3 begins a transaction only at the first change: too late for reads and for CREATE TABLE.
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _prepare_for_notes(connection: SqliteConnection, record: object) -> None:
    _prepare(connection, record)
    connection.execute("PRAGMA synchronous=NORMAL")


def _begin(connection: Connection) -> None:
    if statement := connection.get_execution_options().get(_BEGIN):
        connection.exec_driver_sql(statement)


def compact(connection: Connection) -> bool:
    """Write the database's files anew without what was deleted: neither database does so by itself.

    The connection is in no transaction. Returns whether it could be done to the end.
    """
    if connection.dialect.name != "sqlite":
        return _vacuum(connection, ", ".join(table.name for table in metadata.sorted_tables))
    try:
        connection.exec_driver_sql("VACUUM")
    except OperationalError as error:
        # Without space for a copy, the log at least is emptied: what was deleted was written over with zeros.
        if getattr(error.orig, "sqlite_errorname", "") == "SQLITE_FULL":
            _empty_log(connection)
        raise
    return _empty_log(connection)


def forget_erasures(connection: Connection) -> bool:
    """Remove finished erasures from the database's files, as `compact` removes everything that was deleted."""
    return _empty_log(connection) if connection.dialect.name == "sqlite" else _vacuum(connection, erasures.name)


def _empty_log(connection: Connection) -> bool:
    # The new pages stand in the write-ahead log, before them the old ones: it is emptied once nothing reads from it.
    busy, _, _ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    return not busy


def _vacuum(connection: Connection, tables: str) -> bool:
    # A transaction that waits for a table makes all others wait behind it.
    connection.exec_driver_sql(f"SET lock_timeout = '{BUSY_TIMEOUT_SECONDS}s'")
    try:
        connection.exec_driver_sql(f"VACUUM (FULL) {tables}")
    finally:
        connection.exec_driver_sql("RESET lock_timeout")
    return True
