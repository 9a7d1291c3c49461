"""How a database gets from any older form to today's: numbered steps, each applied once.

A step that has been released is never edited: the next change of the tables is a new step at the end of `MIGRATIONS`.
The SQL is what SQLite and PostgreSQL both understand.
"""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, insert, inspect, select, text

from ..errors import SetupError
from . import schema
from .database import Database

Migration = Callable[[Connection], None]


def m001_history(connection: Connection) -> None:
    """Make the tables of what users said and did, and of what memory made of it."""
    _execute(
        connection,
        "CREATE TABLE migrations (name TEXT NOT NULL PRIMARY KEY)",
        """CREATE TABLE users (
            key TEXT NOT NULL PRIMARY KEY,
            user_id TEXT NOT NULL UNIQUE,
            ordinal INTEGER NOT NULL UNIQUE
        )""",
        """CREATE TABLE interactions (
            user_key TEXT NOT NULL REFERENCES users (key),
            interaction_id TEXT NOT NULL,
            position INTEGER NOT NULL,
            noun TEXT NOT NULL,
            PRIMARY KEY (user_key, interaction_id),
            UNIQUE (user_key, position)
        )""",
        """CREATE TABLE statements (
            user_key TEXT NOT NULL REFERENCES users (key),
            ordinal INTEGER NOT NULL,
            statement_id TEXT NOT NULL,
            topic TEXT NOT NULL,
            noun TEXT NOT NULL,
            PRIMARY KEY (user_key, ordinal),
            UNIQUE (user_key, statement_id)
        )""",
    )


def m002_personas(connection: Connection) -> None:
    """Make the tables of persona versions and of how they came about."""
    _execute(
        connection,
        """CREATE TABLE persona_versions (
            user_key TEXT NOT NULL REFERENCES users (key),
            number INTEGER NOT NULL,
            noun TEXT NOT NULL,
            PRIMARY KEY (user_key, number)
        )""",
        """CREATE TABLE promotions (
            user_key TEXT NOT NULL,
            ordinal INTEGER NOT NULL,
            number INTEGER NOT NULL,
            noun TEXT NOT NULL,
            PRIMARY KEY (user_key, ordinal),
            FOREIGN KEY (user_key, number) REFERENCES persona_versions (user_key, number)
        )""",
        """CREATE TABLE alignments (
            user_key TEXT NOT NULL REFERENCES users (key),
            ordinal INTEGER NOT NULL,
            alignment_id TEXT NOT NULL,
            noun TEXT NOT NULL,
            PRIMARY KEY (user_key, ordinal),
            UNIQUE (user_key, alignment_id)
        )""",
    )


def m003_journal(connection: Connection) -> None:
    """Make the tables of runs and of the calls that they paid for."""
    _execute(
        connection,
        """CREATE TABLE runs (
            run_id TEXT NOT NULL PRIMARY KEY,
            position INTEGER NOT NULL UNIQUE,
            noun TEXT NOT NULL
        )""",
        """CREATE TABLE run_ends (
            run_id TEXT NOT NULL REFERENCES runs (run_id),
            ordinal INTEGER NOT NULL,
            noun TEXT NOT NULL,
            PRIMARY KEY (run_id, ordinal)
        )""",
        """CREATE TABLE calls (
            run_id TEXT NOT NULL REFERENCES runs (run_id),
            key TEXT NOT NULL,
            number INTEGER NOT NULL,
            user_key TEXT NOT NULL,
            role TEXT NOT NULL,
            model TEXT NOT NULL,
            at TEXT NOT NULL,
            noun TEXT NOT NULL,
            PRIMARY KEY (run_id, key, number)
        )""",
        """CREATE TABLE attempts (
            run_id TEXT NOT NULL,
            key TEXT NOT NULL,
            number INTEGER NOT NULL,
            answered INTEGER NOT NULL,
            noun TEXT NOT NULL,
            PRIMARY KEY (run_id, key, number),
            FOREIGN KEY (run_id, key, number) REFERENCES calls (run_id, key, number)
        )""",
        "CREATE INDEX calls_of_user ON calls (user_key)",
    )


def m004_serving(connection: Connection) -> None:
    """Make the tables of who may ask a server, what it answered, and what it does in the background."""
    _execute(
        connection,
        """CREATE TABLE api_keys (
            key_id TEXT NOT NULL PRIMARY KEY,
            user_key TEXT REFERENCES users (key),
            noun TEXT NOT NULL
        )""",
        """CREATE TABLE usage (
            key_id TEXT NOT NULL,
            day TEXT NOT NULL,
            calls INTEGER NOT NULL,
            dollars DOUBLE PRECISION,
            PRIMARY KEY (key_id, day)
        )""",
        """CREATE TABLE idempotency (
            key_id TEXT NOT NULL REFERENCES api_keys (key_id),
            token TEXT NOT NULL,
            user_key TEXT REFERENCES users (key),
            at TEXT NOT NULL,
            noun TEXT NOT NULL,
            PRIMARY KEY (key_id, token)
        )""",
        "CREATE INDEX idempotency_by_age ON idempotency (at)",
        """CREATE TABLE jobs (
            user_key TEXT NOT NULL REFERENCES users (key),
            job_id TEXT NOT NULL,
            at TEXT NOT NULL,
            noun TEXT NOT NULL,
            PRIMARY KEY (user_key, job_id)
        )""",
    )


def m005_tasks(connection: Connection) -> None:
    """Make the table of tasks of one's own."""
    _execute(connection, "CREATE TABLE tasks (name TEXT NOT NULL PRIMARY KEY, noun TEXT NOT NULL)")


def m006_erasures(connection: Connection) -> None:
    """Make the tables of erasures that are not finished, and of writes that are done once.

    What was answered to writes until now is forgotten: it was kept for a day anyway.
    """
    _execute(
        connection,
        "CREATE TABLE erasures (user_key TEXT NOT NULL PRIMARY KEY, at TEXT NOT NULL, parts TEXT NOT NULL)",
        "DROP TABLE idempotency",
        """CREATE TABLE idempotency (
            key_id TEXT NOT NULL REFERENCES api_keys (key_id),
            token TEXT NOT NULL,
            user_key TEXT NOT NULL,
            at TEXT NOT NULL,
            noun TEXT NOT NULL,
            PRIMARY KEY (key_id, token)
        )""",
        "CREATE INDEX idempotency_by_age ON idempotency (at)",
        "CREATE INDEX idempotency_of_user ON idempotency (user_key)",
    )


def m007_counts(connection: Connection) -> None:
    """Put what is counted and ordered of an interaction into columns, so that no count reads every interaction."""
    _execute(
        connection,
        "ALTER TABLE interactions ADD COLUMN moment TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE interactions ADD COLUMN known INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE interactions ADD COLUMN size INTEGER NOT NULL DEFAULT 0",
    )
    rows = connection.execute(text("SELECT user_key, interaction_id, noun FROM interactions")).all()
    counted = text(
        "UPDATE interactions SET moment = :moment, known = :known, size = :size "
        "WHERE user_key = :user_key AND interaction_id = :interaction_id"
    )
    for user_key, interaction_id, noun in rows:
        fields = json.loads(noun)
        at = datetime.fromisoformat(fields.get("at") or "0001-01-01T00:00:00Z").astimezone(UTC)
        values = {
            "moment": at.isoformat(timespec="microseconds"),
            "known": int(fields.get("ground_truth") is not None),
            "size": len(noun.encode()),
        }
        connection.execute(counted, {"user_key": user_key, "interaction_id": interaction_id, **values})
    _execute(
        connection, "CREATE INDEX interactions_by_moment ON interactions (user_key, moment, position, known, size)"
    )


MIGRATIONS: tuple[Migration, ...] = (
    m001_history,
    m002_personas,
    m003_journal,
    m004_serving,
    m005_tasks,
    m006_erasures,
    m007_counts,
)
"""All steps, oldest first."""


def migrate(database: Database, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Apply the steps that `database` has not had, all of them in one transaction.

    Args:
        database: Any database of PersonaAgent, or an empty one.
        migrations: The steps that there are, oldest first.

    Raises:
        SetupError: The database is newer than this release, or holds something else.
        StorageError: It could not be read or written; it is as it was.
    """
    with database.read() as connection:
        if not _missing(connection, database.location, migrations):
            return
    with database.write() as connection:
        for migration in _missing(connection, database.location, migrations):
            migration(connection)
            connection.execute(insert(schema.migrations).values(name=migration.__name__))


def _missing(connection: Connection, location: str, migrations: Sequence[Migration]) -> list[Migration]:
    tables = inspect(connection).get_table_names()
    if not tables:
        return list(migrations)
    if schema.migrations.name not in tables:
        raise SetupError(f"{location}: holds tables of something else: give PersonaAgent a database of its own")
    applied = set(connection.scalars(select(schema.migrations.c.name)))
    if unknown := sorted(applied - {migration.__name__ for migration in migrations}):
        raise SetupError(f"{location}: was written by a newer release (it has had {unknown[-1]}): update personaagent")
    return [migration for migration in migrations if migration.__name__ not in applied]


def _execute(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.execute(text(statement))
