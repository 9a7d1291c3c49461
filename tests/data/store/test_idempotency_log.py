"""Writes that are done once: claimed by one, answered again for a day, then forgotten."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from personaagent.data.errors import ErasedUserError, InputError
from personaagent.data.store import Store
from personaagent.data.store.database import Database
from personaagent.data.store.idempotency import Write

from .conftest import interaction
from .test_database import intrude

T = "t"


def admin(store: Store) -> str:
    return store.keys.create("admin")[0].key_id


def claimed(store: Store, key: str, token: str = T, **how: str) -> tuple[Write, bool]:
    return store.idempotency.claim(key, token, "abc", worker="w", **how)


def answered(store: Store, key: str, token: str, body: str, **how: str) -> Write:
    write, _ = claimed(store, key, token, **how)
    assert store.idempotency.finish(key, token, write, 201, body)
    return write.model_copy(update={"status": 201, "body": body})


def age(url: str, hours: float) -> None:
    """Let everything that was answered have been answered longer ago."""
    at = (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="microseconds")
    intrude(url, f"UPDATE idempotency SET at = '{at}'")  # noqa: S608


def rows(url: str) -> Sequence[str]:
    with closing(Database(url)) as database, database.read() as connection:
        return connection.scalars(text("SELECT token || noun FROM idempotency")).all()


def test_an_answer_is_found_by_whoever_asked_under_the_same_token(url: str) -> None:
    with Store.open(url) as store:
        key, other = admin(store), admin(store)
        assert store.idempotency.find(key, "t") is None
        first = answered(store, key, "t", "one")
        answered(store, other, "u", "another")
    with Store.open(url) as store:
        assert store.idempotency.find(key, "t") == first
        assert (store.idempotency.find(other, "t"), store.idempotency.find(key, "u")) == (None, None)


def test_of_many_who_claim_a_write_at_once_one_has_it(store: Store) -> None:
    key = admin(store)
    with ThreadPoolExecutor(8) as clients:
        claims = list(clients.map(lambda _: claimed(store, key), range(16)))
    assert sorted(is_new for _, is_new in claims) == [False] * 15 + [True]
    assert len({write.write_id for write, _ in claims}) == 1


def test_a_write_that_failed_can_be_claimed_again_under_another_id(store: Store) -> None:
    key = admin(store)
    first, _ = claimed(store, key)
    store.idempotency.give_up(key, "t", first)
    second, is_new = claimed(store, key)
    assert is_new
    assert second.write_id != first.write_id
    store.idempotency.give_up(key, "t", first)
    assert store.idempotency.find(key, "t") == second, "whoever gives up late gives up nothing of others"


def test_of_two_who_take_over_a_write_one_has_it(store: Store) -> None:
    key = admin(store)
    write, _ = claimed(store, key)
    assert store.idempotency.take_over(key, "t", write, "x")
    assert not store.idempotency.take_over(key, "t", write, "y")
    assert claimed(store, key) == (write.model_copy(update={"worker": "x"}), False)
    assert not store.idempotency.finish(key, "t", write, 201, "late")


def test_what_a_write_has_stored_is_seen(store: Store) -> None:
    key, user = admin(store), store.add_user("maya")
    write, _ = claimed(store, key, user_key=user.key)
    assert not store.idempotency.has_stored(user.key, write)
    user.interactions.add([interaction(1, interaction_id=write.write_id)])
    assert store.idempotency.has_stored(user.key, write)


def test_an_answer_is_known_for_24_hours_and_then_forgotten(url: str) -> None:
    with Store.open(url) as store:
        key = admin(store)
        old = answered(store, key, "old", "one")
        age(url, hours=23.9)
        answered(store, key, "new", "two")
        assert store.idempotency.find(key, "old") == old
        age(url, hours=24.1)
        assert store.idempotency.find(key, "old") is None
        assert claimed(store, key, "old")[1]
        assert len(rows(url)) == 1


@pytest.mark.parametrize("token", ["", "a\0b", "x" * 257])
def test_a_token_that_cannot_be_one_is_refused(store: Store, token: str) -> None:
    with pytest.raises(InputError, match="Idempotency-Key"):
        claimed(store, admin(store), token)


def test_nothing_is_claimed_for_a_key_that_is_gone(store: Store) -> None:
    with pytest.raises(ErasedUserError):
        claimed(store, "0" * 12)


def test_a_token_is_kept_as_a_hash_since_it_is_the_clients_own_words(url: str) -> None:
    with Store.open(url) as store:
        claimed(store, admin(store), "private words")
    [row] = rows(url)
    assert "private" not in row


def test_what_was_answered_to_a_user_who_is_erased_is_gone_and_what_comes_late_is_not_kept(url: str) -> None:
    with Store.open(url) as store:
        key, user = admin(store), store.add_user("maya")
        answered(store, key, "done", "private words", user_key=user.key)
        begun, _ = claimed(store, key, "begun", user_key=user.key)
        assert store.people.erase("maya")["idempotency"] == 2
        assert not store.idempotency.finish(key, "begun", begun, 201, "private words")
        assert rows(url) == []


def test_what_was_answered_of_an_interaction_that_is_forgotten_is_gone_and_is_not_done_again(store: Store) -> None:
    key, user = admin(store), store.add_user("maya")
    user.interactions.add([interaction(1), interaction(2)])
    answered(store, key, "one", '{"interaction_id": "i1", "query": "private words"}', user_key=user.key)
    other = answered(store, key, "two", '{"interaction_id": "i2", "query": "see i1"}', user_key=user.key)
    user.interactions.forget("i1")
    forgotten, is_new = claimed(store, key, "one")
    assert (forgotten.status, forgotten.body, is_new) == (410, "", False)
    assert store.idempotency.find(key, "two") == other


def test_an_answer_does_not_show_what_is_in_it() -> None:
    assert "private words" not in repr(Write(request_hash="", write_id="", worker="", body="private words"))
