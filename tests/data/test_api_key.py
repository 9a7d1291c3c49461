"""API keys: two users never share an id, and nothing that is printed holds what opens a door."""

from datetime import UTC, datetime

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from personaagent.data.api_key import ApiKey, KeyLimits, hash_of, new_token, split_token, user_of_tenant
from personaagent.data.errors import InputError

names = st.lists(st.sampled_from(["tenant ", "a", " ", "b", "0", "ä"]), max_size=4).map("".join)
users = names.filter(str.strip)


def key(secret: str = "made up", **changes: object) -> ApiKey:  # noqa: S107
    fields = {
        "key_id": "0123456789ab",
        "role": "user",
        "user_id": "maya",
        "secret_hash": hash_of(secret),
        "created_at": datetime(2024, 5, 1, tzinfo=UTC),
    }
    return ApiKey.model_validate(fields | changes)


@given(tenants=st.tuples(names, names), users=st.tuples(users, users))
@example(tenants=("a", "ab"), users=("b", "b"))
def test_users_are_the_same_only_under_the_same_tenant_and_id(tenants: tuple[str, str], users: tuple[str, str]) -> None:
    owners = list(zip(tenants, users, strict=True))
    assume(all(tenant or not user.startswith("tenant ") for tenant, user in owners))
    one, other = (user_of_tenant(*owner) for owner in owners)
    assert (one == other) == (owners[0] == owners[1])


def test_a_user_without_a_tenant_is_stored_under_his_own_id_and_a_tenants_is_not() -> None:
    assert user_of_tenant("", "maya") == "maya"
    assert user_of_tenant("acme", "maya") == "tenant 822b33ad87c148a0 maya"


def test_a_user_cannot_pass_for_a_tenants() -> None:
    with pytest.raises(InputError, match="begins with 'tenant '"):
        user_of_tenant("", user_of_tenant("acme", "maya"))


@pytest.mark.parametrize("tenant", ["", "acme"])
def test_a_user_without_an_id_is_refused(tenant: str) -> None:
    with pytest.raises(InputError, match="user id is empty"):
        user_of_tenant(tenant, " ")


@given(tenant=names, user=users)
def test_a_key_names_its_user_as_clients_do(tenant: str, user: str) -> None:
    assume(tenant or not user.startswith("tenant "))
    assert key(tenant=tenant, user_id=user_of_tenant(tenant, user)).user == user


def test_a_new_token_is_its_id_and_its_secret_and_no_two_are_alike() -> None:
    tokens = [new_token() for _ in range(50)]
    assert all(split_token(token) == (key_id, secret) for token, key_id, secret in tokens)
    assert len({key_id for _, key_id, _ in tokens}) == len({secret for _, _, secret in tokens}) == 50
    assert all(len(secret) == 43 for _, _, secret in tokens), "43 characters of base64 are 32 bytes"


@given(st.text(max_size=70))
@example("pa_0123456789ab_")
@example("pa_0123456789AB_" + 43 * "x")
@example("pa_0123456789ab_" + 43 * "x" + "\n")
def test_what_is_no_token_is_not_split(text: str) -> None:
    assert split_token(text) is None


def test_a_key_opens_with_its_secret_until_it_is_revoked() -> None:
    assert key("right").opens_with("right")
    assert not key("right").opens_with("wrong")
    assert not key("right", revoked_at=datetime(2024, 5, 2, tzinfo=UTC)).opens_with("right")


def test_a_key_shows_neither_its_secret_nor_the_hash_of_it() -> None:
    token, _, secret = new_token()
    shown = f"{key(secret)!r} {key(secret)}"
    assert [part for part in (token, secret, hash_of(secret)) if part in shown] == []


def test_a_key_is_written_and_read_with_its_limits() -> None:
    made = key(limits=KeyLimits(calls_per_minute=3, dollars_per_day=0.5))
    assert ApiKey.from_json(made.to_json()) == made
