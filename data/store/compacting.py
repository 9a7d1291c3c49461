"""What makes each database write its files anew, without what was deleted: neither does so by itself."""

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from . import schema
from .engines import BUSY_TIMEOUT_SECONDS

_TABLES = (
    schema.users,
    schema.interactions,
    schema.statements,
    schema.persona_versions,
    schema.promotions,
    schema.alignments,
    schema.runs,
    schema.run_ends,
    schema.calls,
    schema.attempts,
    schema.api_keys,
    schema.usage,
    schema.idempotency,
    schema.jobs,
    schema.erasures,
)
"""Where rows are ever deleted."""


def compacted(connection: Connection) -> bool:
    """Write the files of a database anew; return whether it could be done to the end.

    Args:
        connection: Is in no transaction.
    """
    if connection.dialect.name == "sqlite":
        return _sqlite_compacted(connection)
    _vacuum(connection, ", ".join(table.name for table in _TABLES))
    return True


def settled(connection: Connection) -> bool:
    """Leave nothing of erasures that are finished in the files; return whether it could be done to the end.

    Args:
        connection: Is in no transaction.
    """
    if connection.dialect.name == "sqlite":
        return _log_emptied(connection)
    _vacuum(connection, schema.erasures.name)
    return True


def _sqlite_compacted(connection: Connection) -> bool:
    try:
        connection.exec_driver_sql("VACUUM")
    except OperationalError as error:
        # Without room for a copy, the log at least is emptied: what was deleted was written over with zeros.
        if getattr(error.orig, "sqlite_errorname", "") != "SQLITE_FULL":
            raise
        _log_emptied(connection)
        raise
    return _log_emptied(connection)


def _log_emptied(connection: Connection) -> bool:
    # The new pages stand in the write-ahead log, before them the old ones: it is emptied once nobody reads from it.
    busy, _, _ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    return not busy


def _vacuum(connection: Connection, tables: str) -> None:
    # Whoever waits for a table makes all others wait behind it.
    connection.exec_driver_sql(f"SET lock_timeout = '{BUSY_TIMEOUT_SECONDS}s'")
    try:
        connection.exec_driver_sql(f"VACUUM (FULL) {tables}")
    finally:
        connection.exec_driver_sql("RESET lock_timeout")
