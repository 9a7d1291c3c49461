"""Databases of older releases are brought up to date; newer ones and others' are left alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, TableClause, inspect, text

from personaagent.data.errors import SetupError, StorageError
from personaagent.data.store import Store, schema
from personaagent.data.store.database import Database
from personaagent.data.store.migrations import MIGRATIONS, migrate

from .conftest import interaction, persona


@contextmanager
def database(url: str) -> Iterator[Database]:
    opened = Database(url)
    yield opened
    opened.close()


def tables(url: str) -> set[str]:
    with database(url) as found, found.read() as connection:
        return set(inspect(connection).get_table_names())


def execute(url: str, statement: str) -> None:
    with database(url) as found, found.write() as connection:
        connection.exec_driver_sql(statement)


def write_old_rows(url: str) -> None:
    """Write what a release that knew only the first migration would have written."""
    with database(url) as old:
        migrate(old, MIGRATIONS[:1])
        with old.write() as connection:
            connection.execute(text("INSERT INTO users VALUES ('4bc56f6292b80c54', 'maya', 0)"))
            noun = interaction(1).to_json()
            row = text("INSERT INTO interactions VALUES ('4bc56f6292b80c54', 'i1', 0, :noun)")
            connection.execute(row, {"noun": noun})


def test_the_tables_have_the_columns_that_queries_name(url: str) -> None:
    with database(url) as made:
        migrate(made)
        with made.read() as connection:
            found = inspect(connection)
            made_of = {name: {one["name"] for one in found.get_columns(name)} for name in found.get_table_names()}
    named = {one.name: set(one.c.keys()) for one in vars(schema).values() if isinstance(one, TableClause)}
    assert made_of == named


def test_an_old_database_is_brought_up_to_date_and_keeps_its_rows(url: str) -> None:
    write_old_rows(url)
    assert "promotions" not in tables(url)
    with Store.open(url) as store:
        user = store.user("maya")
        assert user.interactions.all() == tuple(user.interactions.each()) == (interaction(1),)
        assert user.interactions.known == int(interaction(1).ground_truth is not None)
        assert user.personas.add(persona("a"), reason="made up", status="live").number == 1


def test_steps_are_applied_once(url: str) -> None:
    for _ in range(3):
        Store.open(url).close()
    with database(url) as found, found.read() as connection:
        names = list(connection.scalars(text("SELECT name FROM migrations ORDER BY name")))
    assert names == [step.__name__ for step in MIGRATIONS]


def test_a_step_that_fails_leaves_the_database_as_it_was(url: str) -> None:
    def m999_breaks(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE extra (name TEXT)"))
        connection.execute(text("INSERT INTO missing VALUES (1)"))

    write_old_rows(url)
    before = tables(url)
    with database(url) as old, pytest.raises(StorageError, match=r"missing.*nothing of this call was stored"):
        migrate(old, (*MIGRATIONS, m999_breaks))
    assert tables(url) == before
    with Store.open(url) as store:
        assert len(store.user("maya").interactions) == 1


def test_a_newer_database_is_refused_and_left_alone(url: str) -> None:
    def m999_later(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE later (name TEXT)"))

    with database(url) as newer:
        migrate(newer, (*MIGRATIONS, m999_later))
    with pytest.raises(SetupError, match=r"newer release \(it has had m999_later\): update personaagent"):
        Store.open(url)


def test_a_noun_of_a_newer_release_is_an_error_that_says_so(url: str) -> None:
    write_old_rows(url)
    execute(url, """UPDATE interactions SET noun = replace(noun, '"schema_version":1', '"schema_version":2')""")
    with Store.open(url) as store, pytest.raises(SetupError, match=r"Interaction .* update personaagent"):
        store.user("maya").interactions.all()


def test_a_database_of_something_else_is_left_alone(url: str) -> None:
    execute(url, "CREATE TABLE songs (name TEXT)")
    with pytest.raises(SetupError, match="something else"):
        Store.open(url)
    assert tables(url) == {"songs"}
