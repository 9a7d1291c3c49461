"""The store and its handles: users are found, kept apart and never named."""

import copy

import pytest

from personaagent.data.errors import InputError, SetupError, UnknownUserError
from personaagent.data.store import Store, User, user_key

from .conftest import alignment, interaction, persona, statement

ODD_IDS = [
    "maya",
    "Maya",
    "maya ",
    "maya%",
    "ma_a",
    "m'--",
    "a/b",
    "a:b",
    "a",
    "b",
    "ß",
    "ss",
    "é",
    "e\u0301",
    "🙂",
    "1",
]


def test_users_are_listed_in_the_order_of_their_creation(store: Store) -> None:
    for user_id in ("zoe", "adam", "zoe", "Adam"):
        store.add_user(user_id)
    assert [user.user_id for user in store.users()] == ["zoe", "adam", "Adam"]
    assert [user.user_id for user in store.users(newest=2)] == ["adam", "Adam"]


def test_an_unknown_user_is_an_error_that_says_what_to_do(store: Store) -> None:
    store.add_user("maya")
    with pytest.raises(UnknownUserError, match="unknown user 'Maya': ingest"):
        store.user("Maya")


@pytest.mark.parametrize("user_id", ["", "a\0b", "a\nb", "\udcff", "x" * 257])
def test_an_id_that_is_no_name_is_refused(store: Store, user_id: str) -> None:
    for call in (store.user, store.add_user, lambda name: store.ingest({"ben": [interaction(1)], name: []})):
        with pytest.raises(InputError, match="user id"):
            call(user_id)
    assert store.users() == ()


def test_users_with_similar_ids_see_only_their_own_rows(store: Store) -> None:
    users = [store.add_user(user_id) for user_id in ODD_IDS]
    for user in users:
        user.interactions.add([interaction(1, ground_truth=user.user_id)])
        user.statements.add(statement("s", "taste", ("i1",)))
        user.personas.add(persona(f"of {user.key}"), reason="made up", status="live")
        user.alignments.add(alignment("first", (user.user_id, False)))
    for user in users:
        again = store.user(user.user_id)
        assert [each.ground_truth for each in again.interactions.all()] == [user.user_id]
        assert len(again.statements.current()) == len(again.alignments.all()) == 1
        assert [version.number for version in again.personas.versions()] == [1, 2]
        assert again.personas.live is not None
        assert user.key in again.personas.live.persona.text
    assert len({user.key for user in users}) == len(ODD_IDS)


def test_a_handle_is_shared_by_copies_and_shows_no_id(user: User) -> None:
    assert copy.copy(user) is user
    assert copy.deepcopy({"program": user})["program"] is user
    assert copy.deepcopy(user.interactions) is user.interactions
    assert repr(user) == f"User(key='{user_key('maya')}')"
    assert "maya" not in str(user)


def test_a_key_is_stable() -> None:
    assert user_key("maya") == "4bc56f6292b80c54"


def test_memory_without_an_index_says_what_is_missing(user: User) -> None:
    with pytest.raises(SetupError, match="index"):
        _ = user.memory


def test_many_histories_are_ingested_together_or_not_at_all(store: Store) -> None:
    store.add_user("maya").interactions.add([interaction(1)])
    assert store.ingest({"ben": [interaction(1), interaction(2)], "maya": [interaction(1), interaction(3)]}) == 3
    with pytest.raises(InputError, match="'i1' is stored already"):
        store.ingest({"zoe": [interaction(1)], "maya": [interaction(1, query="another")]})
    assert [user.user_id for user in store.users()] == ["maya", "ben"]
    assert [len(user.interactions) for user in store.users()] == [2, 2]


def test_everything_is_there_when_the_store_is_opened_again(url: str) -> None:
    with Store.open(url) as store:
        user = store.add_user("maya")
        user.interactions.add([interaction(1)])
        user.statements.add(statement("s", "taste", ("i1",)))
        user.alignments.add(alignment("first", ("b", True)))
        written = (user.interactions.all(), user.statements.current(), user.alignments.all(), user.personas.versions())
    with Store.open(url) as store:
        user = store.user("maya")
        read = (user.interactions.all(), user.statements.current(), user.alignments.all(), user.personas.versions())
    assert read == written


def test_two_stores_in_memory_are_two_stores() -> None:
    with Store.open("sqlite://") as one, Store.open("sqlite://") as other:
        one.add_user("maya")
        assert other.users() == ()
