"""Alignments and the versions that they make are recorded together, or not at all."""

import pytest

from personaagent.data.errors import InputError, UnknownNameError
from personaagent.data.store import User

from .conftest import alignment, persona


def base_of(user: User) -> int:
    return user.personas.add(persona("base"), reason="from memory", status="live").number


def test_each_candidate_becomes_a_version_with_its_parent(user: User) -> None:
    base = base_of(user)
    done = alignment("first", ("b", False), (None, False), ("c", True), ("d", True), ("e", False), base_version=base)
    made = user.alignments.add(done)
    assert [(version.number, version.parent, version.status, version.reason) for version in made] == [
        (2, 1, "rejected", "try 0"),
        (3, 1, "retired", "try 2"),
        (4, 3, "live", "try 3"),
        (5, 4, "rejected", "try 4"),
    ]
    assert {each.alignment_id for each in made} == {"first"}
    assert user.personas.live == made[2]
    assert made[2].persona == done.persona
    assert user.personas.versions()[1:] == made
    assert [promotion.number for promotion in user.personas.promotions()] == [1, 3, 4]


def test_an_alignment_may_start_from_an_unrecorded_base(user: User) -> None:
    [made] = user.alignments.add(alignment("first", ("b", True)))
    assert (made.number, made.parent, made.status) == (1, None, "live")


def test_an_alignment_without_candidates_is_recorded_too(user: User) -> None:
    done = alignment("first", (None, False))
    assert user.alignments.add(done) == ()
    assert user.alignments.all() == (done,)
    assert user.personas.live is None


def test_alignments_are_found_by_id_and_kept_in_order(user: User) -> None:
    first, second = alignment("z", ("b", True)), alignment("a", ("c", True))
    user.alignments.add(first)
    user.alignments.add(second)
    assert user.alignments.all() == (first, second)
    assert user.alignments.get("z") == first
    with pytest.raises(UnknownNameError, match="unknown alignment 'b': use one of z, a"):
        user.alignments.get("b")


def test_an_alignment_is_recorded_once(user: User) -> None:
    user.alignments.add(alignment("first", ("b", True)))
    with pytest.raises(InputError, match="'first' is recorded already"):
        user.alignments.add(alignment("first", ("c", True)))
    assert len(user.personas.versions()) == 1


def test_the_base_must_be_what_its_version_holds(user: User) -> None:
    other = user.personas.add(persona("not the base"), reason="made up", status="live").number
    with pytest.raises(InputError, match="its base is not persona version 1"):
        user.alignments.add(alignment("first", ("b", True), base_version=other))
    with pytest.raises(UnknownNameError):
        user.alignments.add(alignment("first", ("b", True), base_version=2))
    assert user.alignments.all() == ()


def test_an_alignment_that_cannot_be_written_leaves_nothing(user: User) -> None:
    broken = alignment("first", ("b", True)).model_copy(update={"settings": {"temperature": float("inf")}})
    with pytest.raises(InputError, match="changes when written"):
        user.alignments.add(broken)
    assert user.personas.versions() == ()
