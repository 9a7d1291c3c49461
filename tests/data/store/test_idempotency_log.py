"""The answers to writes: found for a day by whoever asked, then forgotten."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from personaagent.data.errors import InputError, StorageError
from personaagent.data.store import Store
from personaagent.data.store.database import Database
from personaagent.data.store.idempotency import Answered

from .test_database import intrude


def answered(body: str = '{"made": "up"}') -> Answered:
    return Answered(request_hash="abc", status=201, body=body)


def admin(store: Store) -> str:
    return store.keys.create("admin")[0].key_id


def age(url: str, hours: float) -> None:
    """Let everything that was answered have been answered longer ago."""
    at = (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="microseconds")
    intrude(url, f"UPDATE idempotency SET at = '{at}'")  # noqa: S608


def tokens(url: str) -> list[str]:
    with closing(Database(url)) as database, database.read() as connection:
        return list(connection.scalars(text("SELECT token FROM idempotency ORDER BY token")))


def test_an_answer_is_found_by_whoever_asked_under_the_same_token(url: str) -> None:
    with Store.open(url) as store:
        key, other = admin(store), admin(store)
        assert store.idempotency.find(key, "t") is None
        store.idempotency.keep(key, "t", answered())
        store.idempotency.keep(other, "u", answered("another"))
    with Store.open(url) as store:
        assert store.idempotency.find(key, "t") == answered()
        assert (store.idempotency.find(other, "t"), store.idempotency.find(key, "u")) == (None, None)


def test_the_first_answer_stays(store: Store) -> None:
    key = admin(store)
    for body in ("first", "second"):
        store.idempotency.keep(key, "t", answered(body))
    assert store.idempotency.find(key, "t") == answered("first")


def test_an_answer_is_known_for_24_hours_and_then_forgotten(url: str) -> None:
    with Store.open(url) as store:
        key = admin(store)
        store.idempotency.keep(key, "old", answered())
        age(url, hours=23.9)
        store.idempotency.keep(key, "new", answered())
        assert store.idempotency.find(key, "old") == answered()
        assert tokens(url) == ["new", "old"]
        age(url, hours=24.1)
        assert store.idempotency.find(key, "old") is None
        store.idempotency.keep(key, "old", answered("again"))
        assert tokens(url) == ["old"]
        assert store.idempotency.find(key, "old") == answered("again")


@pytest.mark.parametrize("token", ["", "a\0b", "x" * 257])
def test_a_token_that_cannot_be_stored_is_refused(store: Store, token: str) -> None:
    key = admin(store)
    with pytest.raises(InputError, match="Idempotency-Key"):
        store.idempotency.keep(key, token, answered())
    with pytest.raises(InputError, match="Idempotency-Key"):
        store.idempotency.find(key, token)


def test_nothing_is_kept_for_a_key_or_a_user_that_is_gone(url: str) -> None:
    with Store.open(url) as store:
        key = admin(store)
        with pytest.raises(StorageError):
            store.idempotency.keep("0" * 12, "t", answered())
        with pytest.raises(StorageError):
            store.idempotency.keep(key, "t", answered(), user_key="0" * 16)
        store.idempotency.keep(key, "t", answered(), user_key=store.add_user("maya").key)
    assert tokens(url) == ["t"]


def test_an_answer_does_not_show_what_is_in_it() -> None:
    assert "private words" not in repr(answered("private words"))
