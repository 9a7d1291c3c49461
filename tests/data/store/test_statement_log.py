"""The log of statements: the newest on a topic holds, the older is history."""

import pytest

from personaagent.data.errors import InputError
from personaagent.data.store import Store, User

from .conftest import interaction, statement


@pytest.fixture(autouse=True)
def _evidence(user: User) -> None:
    user.interactions.add([interaction(1), interaction(2)])


def test_a_newer_statement_supersedes_the_one_of_its_topic_only(user: User) -> None:
    taste, food, changed = (
        statement("s1", "taste", ("i1",)),
        statement("s2", "food", ("i1",)),
        statement("s3", "taste", ("i1", "i2")),
    )
    for each in (taste, food, changed):
        user.statements.add(each)
    assert user.statements.current() == (food, changed)
    assert user.statements.history("taste") == (taste, changed)
    assert user.statements.history("Taste") == ()


def test_adding_an_equal_statement_again_does_nothing(user: User) -> None:
    first, second = statement("s1", "taste", ("i1",)), statement("s2", "taste", ("i2",))
    for each in (first, second, first):
        user.statements.add(each)
    assert user.statements.current() == (second,)


def test_an_id_with_other_content_is_refused(user: User) -> None:
    user.statements.add(statement("s1", "taste", ("i1",)))
    with pytest.raises(InputError, match="'s1' is stored already"):
        user.statements.add(statement("s1", "food", ("i1",)))


def test_evidence_must_be_among_the_users_own_interactions(store: Store, user: User) -> None:
    store.add_user("ben").interactions.add([interaction(3)])
    with pytest.raises(InputError, match="no interaction 'i3'"):
        user.statements.add(statement("s1", "taste", ("i1", "i3")))
    assert user.statements.current() == ()


@pytest.mark.parametrize("topic", ["", "a\0b", "x" * 257])
def test_a_topic_must_be_a_name(user: User, topic: str) -> None:
    with pytest.raises(InputError, match="topic"):
        user.statements.add(statement("s1", topic, ("i1",)))
