"""The ring of API keys: a token opens its own key, until that is revoked, and is found nowhere again."""

import logging
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personaagent.data.api_key import KeyLimits, hash_of, user_of_tenant
from personaagent.data.errors import InputError, PersonaAgentError, UnknownNameError
from personaagent.data.store import Store

from .test_round_trips import few

OWNERS: list[dict[str, Any]] = [
    {"role": "user", "user_id": "maya"},
    {"role": "user", "user_id": "maya", "tenant": "acme"},
    {"role": "tenant", "tenant": "acme"},
    {"role": "admin"},
]


@pytest.mark.parametrize("owner", OWNERS, ids=str)
def test_a_key_is_found_by_its_token(store: Store, owner: dict[str, Any]) -> None:
    key, token = store.keys.create(**owner, limits=KeyLimits(calls_per_day=5))
    assert store.keys.find(token) == key
    assert (key.role, key.tenant, key.user) == (owner["role"], owner.get("tenant", ""), owner.get("user_id"))
    assert key.limits == KeyLimits(calls_per_day=5)
    assert token.startswith(f"pa_{key.key_id}_")


def test_the_user_of_a_key_is_stored(store: Store) -> None:
    store.add_user("maya")
    for user_id, tenant in (("maya", ""), ("maya", "acme"), ("omar", "")):
        store.keys.create("user", user_id=user_id, tenant=tenant)
    assert [user.user_id for user in store.users()] == ["maya", user_of_tenant("acme", "maya"), "omar"]


def test_keys_are_there_when_the_store_is_opened_again_oldest_first(url: str) -> None:
    with Store.open(url) as store:
        made = [store.keys.create("user", user_id=f"user {number}") for number in range(5)]
    with Store.open(url) as store:
        assert list(store.keys.all()) == [key for key, _ in made]
        assert [store.keys.find(token) for _, token in made] == [key for key, _ in made]


@few
@given(secret=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=50))
def test_no_other_secret_opens_a_key(store: Store, secret: str) -> None:
    key, token = store.keys.create("admin")
    assert store.keys.find(f"pa_{key.key_id}_{secret}") is None
    for wrong in (secret, token[:-1], f"{token}x", token.upper(), f" {token}"):
        assert store.keys.find(wrong) is None


def test_a_token_opens_neither_another_key_nor_one_that_is_gone(store: Store) -> None:
    (one, token), (other, _) = store.keys.create("admin"), store.keys.create("admin")
    assert store.keys.find(token.replace(one.key_id, other.key_id)) is None
    assert store.keys.find(token.replace(one.key_id, "0" * 12)) is None


def test_a_revoked_key_opens_nothing_and_stays_listed(store: Store) -> None:
    (key, token), (other, others) = store.keys.create("admin"), store.keys.create("admin")
    store.keys.revoke(key.key_id)
    [revoked, untouched] = store.keys.all()
    assert store.keys.find(token) is None
    assert revoked == key.model_copy(update={"revoked_at": revoked.revoked_at})
    assert revoked.revoked_at is not None
    assert (store.keys.find(others), untouched) == (other, other)
    store.keys.revoke(key.key_id)
    assert store.keys.all() == (revoked, untouched)


def test_an_unknown_key_cannot_be_revoked(store: Store) -> None:
    key, _ = store.keys.create("admin")
    with pytest.raises(UnknownNameError, match=f"unknown key '{'0' * 12}': use one of {key.key_id}"):
        store.keys.revoke("0" * 12)


@pytest.mark.parametrize(
    ("owner", "problem"),
    [
        ({"role": "user"}, "name the user"),
        ({"role": "user", "tenant": "acme"}, "name the user"),
        ({"role": "user", "user_id": ""}, "user id is empty"),
        ({"role": "user", "user_id": " ", "tenant": "acme"}, "user id is empty"),
        ({"role": "user", "user_id": "a\nb"}, "unprintable"),
        ({"role": "user", "user_id": "x" * 250, "tenant": "acme"}, "at most 256"),
        ({"role": "user", "user_id": "tenant of a house"}, "begins with 'tenant '"),
        ({"role": "user", "user_id": "maya", "tenant": "a\0"}, "unprintable"),
        ({"role": "tenant"}, "name the tenant"),
        ({"role": "tenant", "tenant": "x" * 257}, "at most 256"),
        ({"role": "tenant", "tenant": "acme", "user_id": "maya"}, "and no user"),
        ({"role": "admin", "tenant": "acme"}, "neither"),
        ({"role": "admin", "user_id": "maya"}, "neither"),
    ],
    ids=str,
)
def test_a_key_for_nobody_or_for_too_many_is_refused(store: Store, owner: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        store.keys.create(**owner)
    assert (store.keys.all(), store.users()) == ((), ())


def test_a_secret_is_in_no_file_only_its_hash(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store.db") as store:
        _, token = store.keys.create("user", user_id="maya")
        store.keys.find(token)
    secret = token[-43:]
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert secret.encode() not in written
    assert hash_of(secret).encode() in written


def test_a_secret_is_in_no_log_and_no_error(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key, token = store.keys.create("admin")
    errors: list[PersonaAgentError] = []
    for wrong in (token, token[-43:], token[16:]):
        with pytest.raises(InputError, match="named by its id") as caught:
            store.keys.revoke(wrong)
        errors.append(caught.value)
    assert store.keys.find(token) == key
    store.close()
    with pytest.raises(PersonaAgentError) as closed:
        store.keys.find(token)
    shown = "".join(line for error in (*errors, closed.value) for line in traceback.format_exception(error))
    assert [part for part in (token[-43:], key.secret_hash) if part in shown + caplog.text + repr(store.keys)] == []
