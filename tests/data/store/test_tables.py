"""Databases of the present layout are opened as they are; older and newer ones, and others', are left alone."""

import pytest
from sqlalchemy import inspect

from personaagent.data.errors import SetupError
from personaagent.data.store import Store, tables
from personaagent.data.store.database import Database

from .conftest import interaction


def names_in(url: str) -> set[str]:
    database = Database(url)
    with database.read() as connection:
        names = set(inspect(connection).get_table_names())
    database.close()
    return names


def execute(url: str, *statements: str) -> None:
    database = Database(url)
    with database.write() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    database.close()


def test_a_new_database_has_every_table_and_is_opened_again(url: str) -> None:
    for _ in range(3):
        Store.open(url).close()
    assert names_in(url) == set(tables.metadata.tables)


def test_a_database_that_had_every_step_is_opened_as_it_is(url: str) -> None:
    with Store.open(url) as store:
        store.add_user("maya").interactions.add([interaction(1)])
    steps = ("m001_history", "m002_personas", "m003_journal", "m004_serving", "m005_tasks", "m006_erasures")
    execute(url, *(f"INSERT INTO migrations VALUES ('{step}')" for step in steps))  # noqa: S608
    with Store.open(url) as store:
        assert store.user("maya").interactions.all() == (interaction(1),)


def test_an_older_database_is_refused_and_left_alone(url: str) -> None:
    execute(url, "CREATE TABLE migrations (name TEXT)", "INSERT INTO migrations VALUES ('m006_erasures')")
    with pytest.raises(SetupError, match=r"before the first release \(m006_erasures\).* import them into a new home"):
        Store.open(url)
    assert names_in(url) == {"migrations"}


def test_a_newer_database_is_refused_and_left_alone(url: str) -> None:
    Store.open(url).close()
    execute(url, "INSERT INTO migrations VALUES ('m999_later')")
    with pytest.raises(SetupError, match=r"newer release \(it has had m999_later\): update personaagent"):
        Store.open(url)


def test_a_noun_of_a_newer_release_is_an_error_that_says_so(url: str) -> None:
    with Store.open(url) as store:
        store.add_user("maya").interactions.add([interaction(1)])
    execute(url, """UPDATE interactions SET noun = replace(noun, '"schema_version":1', '"schema_version":2')""")
    with Store.open(url) as store, pytest.raises(SetupError, match=r"Interaction .* update personaagent"):
        store.user("maya").interactions.all()


def test_a_database_of_something_else_is_left_alone(url: str) -> None:
    execute(url, "CREATE TABLE songs (name TEXT)")
    with pytest.raises(SetupError, match="something else"):
        Store.open(url)
    assert names_in(url) == {"songs"}
