"""Statements past SQLAlchemy: the same rows on both databases, all or nothing, and failures in our words."""

import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import bindparam, insert, select

from personaagent.data.errors import SetupError, StorageError
from personaagent.data.store import Store, schema
from personaagent.data.store.database import Database
from personaagent.data.store.direct import Prepared

_users = schema.users.c
ADD = Prepared(insert(schema.users))
FIRST = Prepared(select(_users.user_id).order_by(_users.ordinal).limit(1))
AT = Prepared(select(_users.user_id).where(_users.ordinal == bindparam("ordinal")))
MAYA: dict[str, object] = {"key": "a0", "user_id": "maya", "ordinal": 0}
TODAY = date(2024, 5, 1)
BEN: dict[str, object] = {"key": "b0", "user_id": "ben", "ordinal": 1}


@pytest.fixture
def database(store: Store) -> Database:
    return store._database


def test_what_is_fetched_is_what_was_changed(database: Database) -> None:
    with database.write_directly() as transaction:
        transaction.change(ADD, [MAYA, BEN])
        transaction.change(ADD, [])
        assert [tuple(row) for row in transaction.fetch(FIRST, {})] == [("maya",)]
    assert [tuple(row) for row in database.fetch(AT, {"ordinal": 1})] == [("ben",)]
    assert list(database.fetch(AT, {"ordinal": 2})) == []


def test_an_error_leaves_nothing_of_its_transaction_and_tells_no_values(database: Database) -> None:
    with pytest.raises(StorageError, match="nothing of this call was stored") as error:
        add_in_turn(database, BEN, {**BEN, "ordinal": 2})
    assert "ben" not in str(error.value)
    assert error.value.__cause__ is None
    with pytest.raises(KeyboardInterrupt):
        add_and_be_interrupted(database, BEN)
    assert list(database.fetch(FIRST, {})) == []
    add_in_turn(database, MAYA, BEN)
    assert [tuple(row) for row in database.fetch(FIRST, {})] == [("maya",)]


def test_another_process_that_writes_for_too_long_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("personaagent.data.store.engines.BUSY_TIMEOUT_SECONDS", 0.1)
    with Store.open(file) as store, closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="another process has been writing for too long"):
            store.usage.add("0", TODAY, 1, 0.0)
        other.rollback()
        assert store.usage.add("0", TODAY, 1, 0.0).calls == 1


def test_a_closed_database_is_not_asked(database: Database) -> None:
    database.close()
    with pytest.raises(SetupError, match="closed"):
        database.fetch(FIRST, {})
    with pytest.raises(SetupError, match="closed"), database.append():
        pass


def add_in_turn(database: Database, *rows: dict[str, object]) -> None:
    with database.append() as transaction:
        for row in rows:
            transaction.change(ADD, [row])


def add_and_be_interrupted(database: Database, row: dict[str, object]) -> None:
    with database.write_directly() as transaction:
        transaction.change(ADD, [row])
        raise KeyboardInterrupt
