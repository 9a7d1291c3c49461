"""`personaagent keys`: made and shown once, listed without secrets, revoked; a server may be running meanwhile."""

import pytest

from personaagent.data.api_key import KeyLimits, user_of_tenant
from personaagent.data.store import Store
from personaagent.home import Home
from personaagent.settings import Settings

from .command_line import CommandLine, done


def stored(personaagent: CommandLine) -> Store:
    return Store.open(personaagent.home / "store.db")


def test_a_key_is_printed_once_alone_on_standard_output(personaagent: CommandLine) -> None:
    made = done(personaagent("keys", "create", "--user", "maya"))
    token = made.out.removesuffix("\n")
    with stored(personaagent) as store:
        key = store.keys.find(token)
    assert key is not None
    assert (key.role, key.user_id, key.limits) == ("user", "maya", KeyLimits())
    assert made.err == f"key {key.key_id} is shown this once: keep it now\n"
    assert token not in done(personaagent("keys", "list")).out


def test_a_key_has_its_tenant_its_role_and_its_limits(personaagent: CommandLine) -> None:
    limits = ("--calls-per-minute", "6", "--calls-per-day", "100", "--dollars-per-day", "0.5")
    made = done(personaagent("keys", "create", "--user", "maya", "--tenant", "acme", *limits, "--json")).json
    assert {**made, "key": "", "key_id": ""} == {
        "key": "",
        "key_id": "",
        "role": "user",
        "user": "maya",
        "tenant": "acme",
    }
    admin = done(personaagent("keys", "create", "--role", "admin", "--json")).json
    tenant = done(personaagent("keys", "create", "--role", "tenant", "--tenant", "acme", "--json")).json
    with stored(personaagent) as store:
        keys = [store.keys.find(each["key"]) for each in (made, admin, tenant)]
    assert [key and (key.key_id, key.role, key.tenant, key.user_id) for key in keys] == [
        (made["key_id"], "user", "acme", user_of_tenant("acme", "maya")),
        (admin["key_id"], "admin", "", None),
        (tenant["key_id"], "tenant", "acme", None),
    ]
    assert keys[0] is not None
    assert keys[0].limits == KeyLimits(calls_per_minute=6, calls_per_day=100, dollars_per_day=0.5)


def test_the_list_says_whose_a_key_is_and_never_what_opens_it(personaagent: CommandLine) -> None:
    made = [
        done(personaagent("keys", "create", *whose, "--json")).json
        for whose in (
            ("--user", "maya", "--tenant", "acme"),
            ("--role", "admin"),
            ("--user", "[red]", "--role", "user"),
        )
    ]
    done(personaagent("keys", "revoke", made[1]["key_id"]))
    listed = done(personaagent("keys", "list", "--json"))
    assert [(key["key_id"], key["role"], key["user"], key["tenant"]) for key in listed.json] == [
        (key["key_id"], key["role"], key["user"], key["tenant"]) for key in made
    ]
    assert [each["revoked_at"] is not None for each in listed.json] == [False, True, False]
    table = done(personaagent("keys", "list")).out
    first, second, third = table.splitlines()
    assert "user  maya of acme" in first
    assert "admin  everyone" in second
    assert "revoked" in second
    assert "[red]" in third
    with stored(personaagent) as store:
        hidden = [*(each["key"][-43:] for each in made), *(key.secret_hash for key in store.keys.all())]
    assert [secret for secret in hidden if secret in listed.out + table] == []


def test_limits_are_shown_in_the_list(personaagent: CommandLine) -> None:
    done(personaagent("keys", "create", "--role", "admin", "--calls-per-day", "100"))
    [line] = done(personaagent("keys", "list")).out.splitlines()
    assert line.endswith("calls per day: 100")


def test_a_revoked_key_opens_nothing(personaagent: CommandLine) -> None:
    made = done(personaagent("keys", "create", "--user", "maya", "--json")).json
    done(personaagent("keys", "revoke", made["key_id"]))
    with stored(personaagent) as store:
        assert store.keys.find(made["key"]) is None


def test_keys_are_made_and_revoked_while_a_server_has_the_home_folder(personaagent: CommandLine) -> None:
    with Home(Settings(home=personaagent.home, embedder="made-up/one")) as home:
        made = done(personaagent("keys", "create", "--user", "maya", "--json")).json
        assert home.store.keys.find(made["key"]) is not None
        done(personaagent("keys", "revoke", made["key_id"]))
        assert home.store.keys.find(made["key"]) is None


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("create",), "name the user"),
        (("create", "--user", ""), "user id is empty"),
        (("create", "--user", "maya", "--role", "admin"), "neither a user nor a tenant"),
        (("create", "--role", "tenant"), "name the tenant"),
        (("create", "--role", "admin", "--dollars-per-day", "inf"), "give a number"),
        (("revoke", "0123456789ab"), "unknown key '0123456789ab'"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    personaagent: CommandLine, arguments: tuple[str, ...], problem: str
) -> None:
    refused = personaagent("keys", *arguments)
    assert refused.code == 2
    assert problem in refused.err
    assert len(refused.err.splitlines()) == 1
    with stored(personaagent) as store:
        assert (store.keys.all(), store.users()) == ((), ())


def test_a_whole_key_is_not_repeated_when_it_is_given_for_its_id(personaagent: CommandLine) -> None:
    made = done(personaagent("keys", "create", "--user", "maya", "--json")).json
    refused = personaagent("keys", "revoke", made["key"])
    assert refused.code == 2
    assert "12 hexadecimal digits" in refused.err
    assert made["key"][-43:] not in refused.err
