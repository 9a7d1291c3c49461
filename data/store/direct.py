"""The statements that every call and every answer need, without what SQLAlchemy does around a statement.

SQLAlchemy writes them, once. SQLite's own driver then does in a tenth of the time what it does through SQLAlchemy. To a
server, which takes longer to be asked than to answer, they go as all others do.
"""

import json
import sqlite3
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, cast

import sqlalchemy
from sqlalchemy import Connection, Engine, Executable
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler

Values = Mapping[str, object]
"""What a statement's names stand for."""

# Python's driver lets other threads in at each value that has a name: ten times at a row of ten.
_SQLITE = SQLiteDialect_pysqlite(paramstyle="qmark")


class Prepared:
    """A statement that is put together once.

    Args:
        statement: It, or its text, with a name for each value that it needs.
        sqlite: The same for SQLite's driver, if SQLAlchemy cannot write it once; a list comes to it as a JSON array.
    """

    def __init__(self, statement: Executable | str, sqlite: str | None = None) -> None:
        self.statement = sqlalchemy.text(statement) if isinstance(statement, str) else statement
        for_sqlite = self.statement if sqlite is None else sqlalchemy.text(sqlite)
        compiled = cast("SQLCompiler", cast("ClauseElement", for_sqlite).compile(dialect=_SQLITE))
        self.text = str(compiled)
        self._names = compiled.positiontup or []
        self._constants = {name: value for name, value in compiled.params.items() if value is not None}

    def in_order(self, values: Values) -> list[object]:
        """Return the values as SQLite's driver takes them, with those that the statement has of its own."""
        return [_as_taken(values[name] if name in values else self._constants[name]) for name in self._names]


def _as_taken(value: object) -> object:
    return json.dumps(value) if isinstance(value, list) else value


class DirectTransaction(Protocol):
    """A transaction for prepared statements."""

    def fetch(self, prepared: Prepared, values: Values) -> Sequence[Sequence[Any]]:
        """Return the rows of a statement."""
        ...

    def change(self, prepared: Prepared, rows: Sequence[Values]) -> None:
        """Execute a statement once for each row of values."""
        ...


Fetch = Callable[[Prepared, Values], Sequence[Sequence[Any]]]
"""Returns the rows of a statement."""


class _PastSqlAlchemy:
    def __init__(self, driver: sqlite3.Connection) -> None:
        self._driver = driver

    def fetch(self, prepared: Prepared, values: Values) -> Sequence[Sequence[Any]]:
        return self._driver.execute(prepared.text, prepared.in_order(values)).fetchall()

    def change(self, prepared: Prepared, rows: Sequence[Values]) -> None:
        if rows:
            self._driver.executemany(prepared.text, [prepared.in_order(row) for row in rows])


class ThroughSqlAlchemy:
    """Prepared statements in a transaction that has others too."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def fetch(self, prepared: Prepared, values: Values) -> Sequence[Sequence[Any]]:
        """Return the rows of a statement."""
        return self._connection.execute(prepared.statement, values).all()

    def change(self, prepared: Prepared, rows: Sequence[Values]) -> None:
        """Execute a statement once for each row of values."""
        if rows:
            self._connection.execute(prepared.statement, rows)


@contextmanager
def direct_transaction(engine: Engine, begin: str | None = None) -> Generator[DirectTransaction]:
    """Give a transaction for prepared statements, which is undone on any error.

    Args:
        engine: Whose connections.
        begin: How SQLite begins it; left out, each statement is one of its own.
    """
    if engine.dialect.name != "sqlite":
        with engine.begin() as connection:
            yield ThroughSqlAlchemy(connection)
        return
    pooled = engine.raw_connection()
    driver = cast("sqlite3.Connection", pooled.driver_connection)
    try:
        if begin:
            driver.execute(begin)
        yield _PastSqlAlchemy(driver)
        driver.commit()
    finally:
        pooled.close()  # What is not committed is rolled back here.
