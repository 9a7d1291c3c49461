"""Persona versions, promotions and rollback: nothing is edited, and what is live is told by the promotions."""

from datetime import UTC, datetime

import pytest

from personaagent.data.errors import InputError, UnknownNameError
from personaagent.data.persona import PersonaVersion
from personaagent.data.store import Store, User

from .conftest import persona


def statuses(user: User) -> list[str]:
    return [version.status for version in user.personas.versions()]


def add(user: User, text: str, status: str = "live") -> PersonaVersion:
    return user.personas.add(persona(text), reason=f"made for {text}", status=status)  # type: ignore[arg-type]


def test_a_new_user_has_no_persona(user: User) -> None:
    assert user.personas.live is None
    assert user.personas.versions() == ()
    assert user.personas.promotions() == ()


def test_versions_are_numbered_from_one_without_gaps_for_each_user(store: Store, user: User) -> None:
    other = store.add_user("ben")
    made = [add(user, "a"), add(other, "b"), add(user, "c", "rejected"), add(user, "d", "candidate")]
    assert [version.number for version in made] == [1, 1, 2, 3]


def test_a_version_says_what_it_was_given(user: User) -> None:
    before = datetime.now(UTC)
    first = add(user, "a")
    version = user.personas.add(persona("b"), reason="better", status="candidate", parent=1)
    assert (version.number, version.parent, version.reason) == (2, 1, "better")
    assert before <= first.at <= version.at <= datetime.now(UTC)
    assert user.personas.get(2) == version


def test_the_last_promoted_version_is_live_and_the_ones_before_are_retired(user: User) -> None:
    add(user, "a")
    add(user, "b", "rejected")
    add(user, "c", "candidate")
    second = add(user, "d")
    assert statuses(user) == ["retired", "rejected", "candidate", "live"]
    assert user.personas.live == second == user.personas.get(4)


def test_rollback_promotes_an_older_version_and_keeps_the_whole_story(user: User) -> None:
    add(user, "a")
    add(user, "b")
    back = user.personas.promote(1, "the user liked the old one better")
    assert back == user.personas.live
    assert (back.number, back.status) == (1, "live")
    assert statuses(user) == ["live", "retired"]
    assert [(promotion.number, promotion.reason) for promotion in user.personas.promotions()] == [
        (1, "made for a"),
        (2, "made for b"),
        (1, "the user liked the old one better"),
    ]


def test_a_rejected_version_may_still_be_promoted(user: User) -> None:
    add(user, "a")
    add(user, "b", "rejected")
    assert user.personas.promote(2, "the user insists").status == "live"
    user.personas.promote(1, "and changes mind")
    assert statuses(user) == ["live", "retired"]


def test_promoting_the_live_version_is_refused(user: User) -> None:
    add(user, "a")
    with pytest.raises(InputError, match="version 1 is live already"):
        user.personas.promote(1, "again")
    assert len(user.personas.promotions()) == 1


@pytest.mark.parametrize("number", [0, -1, 2, 2**70])
def test_an_unknown_number_names_those_that_exist(user: User, number: int) -> None:
    add(user, "a")
    with pytest.raises(UnknownNameError, match=r"unknown persona version '.*': use one of 1$"):
        user.personas.get(number)
    with pytest.raises(UnknownNameError):
        user.personas.promote(number, "why not")


def test_another_users_version_is_unknown(store: Store, user: User) -> None:
    add(user, "a")
    with pytest.raises(UnknownNameError):
        store.add_user("ben").personas.promote(1, "mine now")


def test_an_unknown_parent_is_refused_and_nothing_is_stored(user: User) -> None:
    with pytest.raises(UnknownNameError):
        user.personas.add(persona("a"), reason="made up", status="live", parent=1)
    assert user.personas.versions() == ()
