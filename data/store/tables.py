"""The tables of the store, and the layout that they have.

A row is a noun's JSON beside the columns by which it is found; those are written together with the noun. Rows are added
and, where something is forgotten, deleted. None is changed, but for tasks and those of a server: an API key is revoked,
usage is counted, a job or an erasure goes on, a write that was begun is answered.
"""

from typing import TYPE_CHECKING

from sqlalchemy import (
    DOUBLE_PRECISION,
    Column,
    Connection,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    insert,
    inspect,
    select,
)
from sqlalchemy.schema import SchemaItem

from ..errors import SetupError

if TYPE_CHECKING:
    from .database import Database

LAYOUT = "m007_counts"
"""The layout of these tables, as the table `migrations` names it. Numbered migrations from it begin with the first
release."""

metadata = MetaData()


def _text(name: str, refers_to: str | None = None, *, key: bool = False, unique: bool | None = None) -> Column[str]:
    references = [] if refers_to is None else [ForeignKey(refers_to)]
    return Column(name, Text, *references, primary_key=key, nullable=False, unique=unique)


def _integer(name: str, *, key: bool = False, unique: bool | None = None) -> Column[int]:
    return Column(name, Integer, primary_key=key, autoincrement=False, nullable=False, unique=unique)


def _user() -> Column[str]:
    return _text("user_key", "users.key", key=True)


def _table(name: str, *items: SchemaItem) -> Table:
    return Table(name, metadata, *items)


# `ordinal` is the order in which users were stored.
users = _table("users", _text("key", key=True), _text("user_id", unique=True), _integer("ordinal", unique=True))
# `position` is the place in the user's history, `moment` the date, `known` whether there is a ground truth, `size` the
# bytes of the noun.
interactions = _table(
    "interactions",
    _user(),
    _text("interaction_id", key=True),
    _integer("position"),
    _text("noun"),
    _text("moment"),
    _integer("known"),
    _integer("size"),
    UniqueConstraint("user_key", "position"),
    Index("interactions_by_moment", "user_key", "moment", "position", "known", "size"),
)
# The current statement of a topic has the highest `ordinal`.
statements = _table(
    "statements",
    _user(),
    _integer("ordinal", key=True),
    _text("statement_id"),
    _text("topic"),
    _text("noun"),
    UniqueConstraint("user_key", "statement_id"),
)
# As recorded: which version is live or retired is told by `promotions` alone.
persona_versions = _table("persona_versions", _user(), _integer("number", key=True), _text("noun"))
# Which version became live; the last one is live now.
promotions = _table(
    "promotions",
    _text("user_key", key=True),
    _integer("ordinal", key=True),
    _integer("number"),
    _text("noun"),
    ForeignKeyConstraint(["user_key", "number"], ["persona_versions.user_key", "persona_versions.number"]),
)
alignments = _table(
    "alignments",
    _user(),
    _integer("ordinal", key=True),
    _text("alignment_id"),
    _text("noun"),
    UniqueConstraint("user_key", "alignment_id"),
)
runs = _table("runs", _text("run_id", key=True), _integer("position", unique=True), _text("noun"))
# How each stretch of a run ended; a run without a row was interrupted.
run_ends = _table("run_ends", _text("run_id", "runs.run_id", key=True), _integer("ordinal", key=True), _text("noun"))
# What was asked: a row for each attempt, written before it is sent.
calls = _table(
    "calls",
    _text("run_id", "runs.run_id", key=True),
    _text("key", key=True),
    _integer("number", key=True),
    _text("user_key"),
    _text("role"),
    _text("model"),
    _text("at"),
    _text("noun"),
    Index("calls_of_user", "user_key"),
)
# How each attempt ended; a call without a row here was under way at a crash.
attempts = _table(
    "attempts",
    _text("run_id", key=True),
    _text("key", key=True),
    _integer("number", key=True),
    _integer("answered"),
    _text("noun"),
    ForeignKeyConstraint(["run_id", "key", "number"], ["calls.run_id", "calls.key", "calls.number"]),
)
# `user_key` only of a user's key.
api_keys = _table(
    "api_keys", _text("key_id", key=True), Column("user_key", Text, ForeignKey("users.key")), _text("noun")
)
# `day` is in UTC; `dollars` is NULL once a price was not known.
usage = _table(
    "usage", _text("key_id", key=True), _text("day", key=True), _integer("calls"), Column("dollars", DOUBLE_PRECISION)
)
# Writes that are done once, by a hash of the client's token; `user_key` is whom the write is about.
idempotency = _table(
    "idempotency",
    _text("key_id", "api_keys.key_id", key=True),
    _text("token", key=True),
    _text("user_key"),
    _text("at"),
    _text("noun"),
    Index("idempotency_by_age", "at"),
    Index("idempotency_of_user", "user_key"),
)
# Alignments that a server was asked for.
jobs = _table("jobs", _user(), _text("job_id", key=True), _text("at"), _text("noun"))
# Tasks of the user's own; one that is added again replaces the older.
tasks = _table("tasks", _text("name", key=True), _text("noun"))
# Users who are to be erased, and what is left to do of each.
erasures = _table("erasures", _text("user_key", key=True), _text("at"), _text("parts"))
migrations = _table("migrations", _text("name", key=True))


def prepare(database: "Database") -> None:
    """Make the tables in an empty database, and check that any other has this layout."""
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
