"""The log of what memory has abstracted about one user: the newest on a topic holds, older ones are history."""

from sqlalchemy import Connection, delete, func, select

from ..errors import InputError
from ..statement import Statement
from . import tables
from .log import UserLog, UserTable, check_id, read

_table = tables.statements
STATEMENTS = UserTable(Statement, _table, "ordinal", fields=("statement_id", "topic"), unique=("statement_id",))


class StatementLog(UserLog):
    """One user's statements."""

    def current(self) -> tuple[Statement, ...]:
        """Return the newest statement of each topic, in the order in which they were added."""
        mine = _table.c.user_key == self._user_key
        newest = select(func.max(_table.c.ordinal)).where(mine).group_by(_table.c.topic)
        return self._database.nouns(Statement, STATEMENTS.select(self._user_key, _table.c.ordinal.in_(newest)))

    def history(self, topic: str) -> tuple[Statement, ...]:
        """Return every statement on a topic, the current one last; empty if there never was one."""
        check_id("topic", topic)
        return self._database.nouns(Statement, STATEMENTS.select(self._user_key, _table.c.topic == topic))

    def add(self, statement: Statement) -> None:
        """Store a statement, which supersedes the current one of its topic. Adding an equal one again does nothing.

        Raises:
            InputError: Its id is stored with other content, or its evidence is not among the user's interactions.
        """
        check_id("statement id", statement.statement_id)
        same_id = STATEMENTS.select(self._user_key, _table.c.statement_id == statement.statement_id)
        with self._database.write() as connection:
            if (stored := connection.scalar(same_id)) is None:
                _check_evidence(connection, self._user_key, statement)
                STATEMENTS.append(connection, self._user_key, [statement])
            elif read(Statement, stored) != statement:
                raise InputError(f"statement {statement.statement_id!r} is stored already, with other content")


def retract(connection: Connection, user_key: str, interaction_id: str) -> None:
    """Delete the statements that have this interaction as evidence; an older one of their topic may hold again."""
    for statement in list(STATEMENTS.each(connection, user_key)):
        if interaction_id in statement.evidence:
            same_id = _table.c.statement_id == statement.statement_id
            connection.execute(delete(_table).where(_table.c.user_key == user_key, same_id))


def _check_evidence(connection: Connection, user_key: str, statement: Statement) -> None:
    log = tables.interactions.c
    known = connection.scalars(select(log.interaction_id).where(log.user_key == user_key))
    if unknown := sorted(set(statement.evidence).difference(known)):
        raise InputError(f"statement {statement.statement_id!r}: this user has no interaction {unknown[0]!r}")
