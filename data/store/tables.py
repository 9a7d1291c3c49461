"""The tables of the store, and the layout that they have.

A row is a noun's JSON beside the columns by which it is found; those are written together with the noun. Rows are added
and, where something is forgotten, deleted. None is changed, but for tasks and those of a server: an API key is revoked,
usage is counted, a job or an erasure goes on, a write that was begun is answered.
"""

from typing import TYPE_CHECKING

from sqlalchemy import (
    Column,
    Connection,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    insert,
    inspect,
    select,
)

from ..errors import SetupError

if TYPE_CHECKING:
    from .database import Database

LAYOUT = "m007_counts"
"""The layout of these tables, as the table `migrations` names it. Numbered migrations from it begin with the first
release."""

metadata = MetaData()


def _text(name: str, *references: ForeignKey) -> Column[str]:
    return Column(name, Text, *references, nullable=False)


def _integer(name: str, *, unique: bool | None = None) -> Column[int]:
    return Column(name, Integer, nullable=False, unique=unique)


def _user() -> Column[str]:
    return _text("user_key", ForeignKey("users.key"))


# `ordinal` is the order in which users were stored.
users = Table(
    "users",
    metadata,
    _text("key"),
    Column("user_id", Text, nullable=False, unique=True),
    _integer("ordinal", unique=True),
    PrimaryKeyConstraint("key"),
)
# `position` is the place in the user's history, `moment` the date, `known` whether there is a ground truth, `size` the
# bytes of the noun.
interactions = Table(
    "interactions",
    metadata,
    _user(),
    _text("interaction_id"),
    _integer("position"),
    _text("noun"),
    _text("moment"),
    _integer("known"),
    _integer("size"),
    PrimaryKeyConstraint("user_key", "interaction_id"),
    UniqueConstraint("user_key", "position"),
    Index("interactions_by_moment", "user_key", "moment", "position", "known", "size"),
)
# The current statement of a topic has the highest `ordinal`.
statements = Table(
    "statements",
    metadata,
    _user(),
    _integer("ordinal"),
    _text("statement_id"),
    _text("topic"),
    _text("noun"),
    PrimaryKeyConstraint("user_key", "ordinal"),
    UniqueConstraint("user_key", "statement_id"),
)
# As recorded: which version is live or retired is told by `promotions` alone.
persona_versions = Table(
    "persona_versions",
    metadata,
    _user(),
    _integer("number"),
    _text("noun"),
    PrimaryKeyConstraint("user_key", "number"),
)
# Which version became live; the last one is live now.
promotions = Table(
    "promotions",
    metadata,
    _text("user_key"),
    _integer("ordinal"),
    _integer("number"),
    _text("noun"),
    PrimaryKeyConstraint("user_key", "ordinal"),
    ForeignKeyConstraint(["user_key", "number"], ["persona_versions.user_key", "persona_versions.number"]),
)
alignments = Table(
    "alignments",
    metadata,
    _user(),
    _integer("ordinal"),
    _text("alignment_id"),
    _text("noun"),
    PrimaryKeyConstraint("user_key", "ordinal"),
    UniqueConstraint("user_key", "alignment_id"),
)
runs = Table(
    "runs",
    metadata,
    _text("run_id"),
    _integer("position", unique=True),
    _text("noun"),
    PrimaryKeyConstraint("run_id"),
)
# How each stretch of a run ended; a run without a row was interrupted.
run_ends = Table(
    "run_ends",
    metadata,
    _text("run_id", ForeignKey("runs.run_id")),
    _integer("ordinal"),
    _text("noun"),
    PrimaryKeyConstraint("run_id", "ordinal"),
)
# What was asked: a row for each attempt, written before it is sent.
calls = Table(
    "calls",
    metadata,
    _text("run_id", ForeignKey("runs.run_id")),
    _text("key"),
    _integer("number"),
    _text("user_key"),
    _text("role"),
    _text("model"),
    _text("at"),
    _text("noun"),
    PrimaryKeyConstraint("run_id", "key", "number"),
    Index("calls_of_user", "user_key"),
)
# How each attempt ended; a call without a row here was under way at a crash.
attempts = Table(
    "attempts",
    metadata,
    _text("run_id"),
    _text("key"),
    _integer("number"),
    _integer("answered"),
    _text("noun"),
    PrimaryKeyConstraint("run_id", "key", "number"),
    ForeignKeyConstraint(["run_id", "key", "number"], ["calls.run_id", "calls.key", "calls.number"]),
)
# `user_key` only of a user's key.
api_keys = Table(
    "api_keys",
    metadata,
    _text("key_id"),
    Column("user_key", Text, ForeignKey("users.key")),
    _text("noun"),
    PrimaryKeyConstraint("key_id"),
)
# `day` is in UTC; `dollars` is NULL once a price was not known.
usage = Table(
    "usage",
    metadata,
    _text("key_id"),
    _text("day"),
    _integer("calls"),
    Column("dollars", Double),
    PrimaryKeyConstraint("key_id", "day"),
)
# Writes that are done once, by a hash of the client's token; `user_key` is whom the write is about.
idempotency = Table(
    "idempotency",
    metadata,
    _text("key_id", ForeignKey("api_keys.key_id")),
    _text("token"),
    _text("user_key"),
    _text("at"),
    _text("noun"),
    PrimaryKeyConstraint("key_id", "token"),
    Index("idempotency_by_age", "at"),
    Index("idempotency_of_user", "user_key"),
)
# Alignments that a server was asked for.
jobs = Table(
    "jobs",
    metadata,
    _user(),
    _text("job_id"),
    _text("at"),
    _text("noun"),
    PrimaryKeyConstraint("user_key", "job_id"),
)
# Tasks of one's own; one that is added again replaces the older.
tasks = Table("tasks", metadata, _text("name"), _text("noun"), PrimaryKeyConstraint("name"))
# Users who are to be erased, and what is left to do of each.
erasures = Table("erasures", metadata, _text("user_key"), _text("at"), _text("parts"), PrimaryKeyConstraint("user_key"))
migrations = Table("migrations", metadata, _text("name"), PrimaryKeyConstraint("name"))


def prepare(database: "Database") -> None:
    """Make the tables in an empty database, and check that any other has this layout.

    Raises:
        SetupError: The database has another layout, or holds something else.
        StorageError: It could not be read or written; it is as it was.
    """
    with database.read() as connection:
        if _has_layout(connection, database.location):
            return
    with database.write() as connection:
        if not _has_layout(connection, database.location):
            metadata.create_all(connection, checkfirst=False)
            connection.execute(insert(migrations).values(name=LAYOUT))


def _has_layout(connection: Connection, location: str) -> bool:
    """Return whether the tables are there; False if the database is empty."""
    tables = inspect(connection).get_table_names()
    if not tables:
        return False
    if migrations.name not in tables:
        raise SetupError(f"{location}: holds tables of something else: give PersonaAgent a database of its own")
    applied = sorted(connection.scalars(select(migrations.c.name)))
    if newer := [name for name in applied if name > LAYOUT]:
        raise SetupError(f"{location}: was written by a newer release (it has had {newer[-1]}): update personaagent")
    if LAYOUT not in applied:
        raise SetupError(
            f"{location}: was made before the first release ({applied[-1] if applied else 'it has had nothing'}), and "
            "is not read any more: export its users with the version that made it, and import them into a new home"
        )
    return True
