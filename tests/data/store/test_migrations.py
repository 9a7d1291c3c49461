"""Databases of older releases are brought up to date; newer ones and others' are left alone."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, TableClause, inspect, text

from personaagent.data.errors import SetupError, StorageError
from personaagent.data.store import Store, schema
from personaagent.data.store.database import Database
from personaagent.data.store.migrations import MIGRATIONS, migrate

from .conftest import interaction, persona


@contextmanager
def database(file: Path) -> Iterator[Database]:
    opened = Database(file)
    yield opened
    opened.close()


def tables(file: Path) -> set[str]:
    with closing(sqlite3.connect(file)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def write_old_rows(file: Path) -> None:
    """Write what a release that knew only the first migration would have written."""
    with database(file) as old:
        migrate(old, MIGRATIONS[:1])
        with old.write() as connection:
            connection.execute(text("INSERT INTO users VALUES ('4bc56f6292b80c54', 'maya', 0)"))
            noun = interaction(1).to_json()
            row = text("INSERT INTO interactions VALUES ('4bc56f6292b80c54', 'i1', 0, :noun)")
            connection.execute(row, {"noun": noun})


def test_the_tables_have_the_columns_that_queries_name(file: Path) -> None:
    with database(file) as made:
        migrate(made)
        with made.read() as connection:
            found = inspect(connection)
            made_of = {name: {one["name"] for one in found.get_columns(name)} for name in found.get_table_names()}
    named = {one.name: set(one.c.keys()) for one in vars(schema).values() if isinstance(one, TableClause)}
    assert made_of == named


def test_an_old_file_is_brought_up_to_date_and_keeps_its_rows(file: Path) -> None:
    write_old_rows(file)
    assert "promotions" not in tables(file)
    with Store.open(file) as store:
        user = store.user("maya")
        assert user.interactions.all() == (interaction(1),)
        assert user.personas.add(persona("a"), reason="made up", status="live").number == 1


def test_steps_are_applied_once(file: Path) -> None:
    for _ in range(3):
        Store.open(file).close()
    with closing(sqlite3.connect(file)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM migrations ORDER BY name")]
    assert names == [step.__name__ for step in MIGRATIONS]


def test_a_step_that_fails_leaves_the_file_as_it_was(file: Path) -> None:
    def m003_breaks(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE extra (name TEXT)"))
        connection.execute(text("INSERT INTO missing VALUES (1)"))

    write_old_rows(file)
    before = tables(file)
    with database(file) as old, pytest.raises(StorageError, match="no such table"):
        migrate(old, (*MIGRATIONS, m003_breaks))
    assert tables(file) == before
    with Store.open(file) as store:
        assert len(store.user("maya").interactions) == 1


def test_a_newer_file_is_refused_and_left_alone(file: Path) -> None:
    def m999_later(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE later (name TEXT)"))

    with database(file) as newer:
        migrate(newer, (*MIGRATIONS, m999_later))
    with pytest.raises(SetupError, match=r"newer release \(it has had m999_later\): update personaagent"):
        Store.open(file)


def test_a_noun_of_a_newer_release_is_an_error_that_says_so(file: Path) -> None:
    write_old_rows(file)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(
            """UPDATE interactions SET noun = replace(noun, '"schema_version":1', '"schema_version":2')"""
        )
    with Store.open(file) as store, pytest.raises(SetupError, match=r"Interaction .* update personaagent"):
        store.user("maya").interactions.all()


def test_a_database_of_something_else_is_left_alone(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
    with pytest.raises(SetupError, match="something else"):
        Store.open(file)
    assert tables(file) == {"songs"}
