"""The log of what memory has abstracted about one user: the newest on a topic holds, older ones are history."""

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select

from ..errors import InputError
from ..statement import Statement
from . import schema
from .database import Database
from .rows import Handle, check_id, next_number, read, written

_table = schema.statements


class StatementLog(Handle):
    """One user's statements."""

    def __init__(self, database: Database, user_key: str) -> None:
        self._database, self._user_key = database, user_key

    def current(self) -> tuple[Statement, ...]:
        """Return the newest statement of each topic, in the order in which they were added."""
        newest = select(func.max(_table.c.ordinal)).where(self._mine).group_by(_table.c.topic)
        return self._read(_table.c.ordinal.in_(newest))

    def history(self, topic: str) -> tuple[Statement, ...]:
        """Return every statement on a topic, the current one last; empty if there never was one.

        Raises:
            InputError: The topic is empty, too long or unprintable.
        """
        check_id("topic", topic)
        return self._read(_table.c.topic == topic)

    def add(self, statement: Statement) -> None:
        """Store a statement, which supersedes the current one of its topic. Adding an equal one again does nothing.

        Raises:
            InputError: Its id is stored with other content, or its evidence is not among the user's interactions.
            StorageError: The disk is full or refuses to write.
        """
        check_id("statement id", statement.statement_id)
        check_id("topic", statement.topic)
        same_id = select(_table.c.noun).where(self._mine, _table.c.statement_id == statement.statement_id)
        with self._database.write() as connection:
            stored = connection.scalar(same_id)
            if stored is None:
                self._insert(connection, statement)
            elif read(Statement, stored) != statement:
                raise InputError(f"statement {statement.statement_id!r} is stored already, with other content")

    def _insert(self, connection: Connection, statement: Statement) -> None:
        _check_evidence(connection, self._user_key, statement)
        row = {
            "user_key": self._user_key,
            "ordinal": next_number(connection, _table.c.ordinal, self._mine),
            "statement_id": statement.statement_id,
            "topic": statement.topic,
            "noun": written(statement),
        }
        connection.execute(insert(_table).values(row))

    def _read(self, *which: ColumnElement[bool]) -> tuple[Statement, ...]:
        rows = select(_table.c.noun).where(self._mine, *which).order_by(_table.c.ordinal)
        with self._database.read() as connection:
            return tuple(read(Statement, text) for text in connection.scalars(rows))

    @property
    def _mine(self) -> ColumnElement[bool]:
        return _table.c.user_key == self._user_key


def retract(connection: Connection, user_key: str, interaction_id: str) -> None:
    """Delete the statements that have this interaction as evidence; an older one of their topic may hold again."""
    mine = _table.c.user_key == user_key
    rows = connection.scalars(select(_table.c.noun).where(mine)).all()
    for statement in (read(Statement, text) for text in rows):
        if interaction_id in statement.evidence:
            connection.execute(delete(_table).where(mine, _table.c.statement_id == statement.statement_id))


def _check_evidence(connection: Connection, user_key: str, statement: Statement) -> None:
    log = schema.interactions
    known = connection.scalars(select(log.c.interaction_id).where(log.c.user_key == user_key))
    if unknown := sorted(set(statement.evidence).difference(known)):
        raise InputError(f"statement {statement.statement_id!r}: this user has no interaction {unknown[0]!r}")
