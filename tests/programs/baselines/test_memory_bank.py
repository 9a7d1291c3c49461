"""How memories grow stronger and fade. No LM, no embedder."""

from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from personaagent.data.interaction import Interaction
from personaagent.programs.baselines.membank import (
    Forgetting,
    MemoryBank,
    Piece,
    by_day,
    nearest,
    rehearsed,
    remembered,
    retention,
)

LAWS: tuple[Forgetting, ...] = ("published", "corrected")
laws = st.sampled_from(LAWS)
days = st.floats(0, 200)
strengths = st.integers(1, 20)


def piece(day: int, strength: int = 1, recalled_on: int | None = None) -> Piece:
    return Piece(text="x", shown='"x"', day=day, strength=strength, recalled_on=recalled_on)


pieces = st.lists(st.builds(piece, st.integers(0, 30), strengths), max_size=30)


def interaction(number: int, date: tuple[int, int, int] | None) -> Interaction:
    at = datetime(*date, 23, 59, tzinfo=UTC) if date else None
    return Interaction(interaction_id=str(number), query="x", at=at, position=number)


def numbers(history: list[Interaction]) -> list[list[str]]:
    return [[item.interaction_id for item in items] for items in by_day(history).values()]


@pytest.mark.parametrize(
    ("law", "at_3_days_recalled_once"), [("published", 0.30119421191220214), ("corrected", 0.7408182206817179)]
)
def test_the_two_laws_at_a_point(law: Forgetting, at_3_days_recalled_once: float) -> None:
    assert retention(3, 2, law) == pytest.approx(at_3_days_recalled_once)  # exp(-6/5) and exp(-3/10)


@given(days, strengths, laws)
def test_retention_is_a_probability_and_certain_at_once(t: float, strength: int, law: Forgetting) -> None:
    assert 0 <= retention(t, strength, law) <= 1
    assert retention(0, strength, law) == 1


@given(st.floats(0, 50), st.floats(0.01, 50), strengths, laws)
def test_retention_falls_with_time(t: float, more: float, strength: int, law: Forgetting) -> None:
    assume(retention(t, strength, law) > 0)
    assert retention(t + more, strength, law) < retention(t, strength, law)


@given(st.floats(0.01, 30), strengths)
def test_strength_hastens_forgetting_as_published_and_slows_it_as_corrected(t: float, strength: int) -> None:
    assert retention(t, strength + 1, "published") < retention(t, strength, "published")
    assert retention(t, strength + 1, "corrected") > retention(t, strength, "corrected")


@given(days)
def test_what_was_never_recalled_fades_alike_under_both_laws(t: float) -> None:
    assert retention(t, 1, "published") == pytest.approx(retention(t, 1, "corrected"))


@given(pieces, laws, st.integers())
def test_forgetting_only_takes_away_and_chance_is_the_seeds(kept: list[Piece], law: Forgetting, seed: int) -> None:
    left = remembered(kept, 30, law, seed)
    rest = iter(kept)
    assert all(any(piece is other for other in rest) for piece in left)
    assert left == remembered(kept, 30, law, seed)


@given(st.lists(st.builds(piece, st.just(30), strengths)), laws, st.integers())
def test_what_is_of_today_is_remembered(fresh: list[Piece], law: Forgetting, seed: int) -> None:
    assert remembered(fresh, 30, law, seed) == tuple(fresh)


@given(pieces, st.integers())
def test_under_the_corrected_law_nothing_is_forgotten_that_the_published_one_keeps(
    kept: list[Piece], seed: int
) -> None:
    published = {id(piece) for piece in remembered(kept, 30, "published", seed)}
    assert published <= {id(piece) for piece in remembered(kept, 30, "corrected", seed)}


def test_of_many_alike_as_many_are_kept_as_their_retention_says() -> None:
    kept = remembered([piece(0)] * 4000, 5, "published", seed=3)
    assert len(kept) / 4000 == pytest.approx(retention(5, 1, "published"), abs=0.03)


def test_another_seed_forgets_others() -> None:
    aged = [piece(day) for day in range(30)]
    assert remembered(aged, 30, "published", seed=0) != remembered(aged, 30, "published", seed=1)


def test_a_recall_makes_stronger_and_new_again() -> None:
    recalled = piece(day=1).recalled(day=4)
    assert (recalled.strength, recalled.day) == (2, 1)
    assert (piece(day=1).age(today=6), recalled.age(today=6)) == (5, 2)


def test_each_turn_recalls_the_most_alike_that_were_there_before() -> None:
    turns, summaries = [piece(1), piece(1), piece(2), piece(4)], [piece(1), piece(4)]
    likeness = [
        [9.0, 9, 9, 9, 9, 9],  # the first turn: nothing is there before it
        [1.0, 9, 9, 9, 8, 9],  # the same day: its summary is not written yet
        [1.0, 2, 9, 9, 3, 9],  # the next day: the summary and the second turn are nearest
        [5.0, 5, 5, 9, 1, 9],  # all alike: the newest two
    ]
    after = rehearsed(turns, summaries, likeness, k=2)
    assert [(piece.strength, piece.recalled_on) for piece in after] == [
        (2, 1),
        (3, 4),
        (2, 4),
        (1, None),
        (2, 2),
        (1, None),
    ]
    assert [piece.day for piece in after] == [1, 1, 2, 4, 1, 4]


def test_of_equally_near_ones_the_last_comes_first() -> None:
    assert nearest([1.0, 3.0, 1.0, 2.0], range(4), 3) == [1, 3, 2]
    assert nearest([1.0, 3.0, 1.0, 2.0], [0, 2], 3) == [2, 0]


def test_a_day_is_a_date() -> None:
    history = [interaction(0, (2024, 2, 28)), interaction(1, (2024, 2, 28)), interaction(2, (2024, 3, 1))]
    assert numbers(history) == [["0", "1"], ["2"]]
    first, last = by_day(history)
    assert last - first == 2


@pytest.mark.parametrize("dates", [[None, None, None], [(2024, 2, 1), None, (2024, 2, 1)]])
def test_without_all_dates_each_interaction_has_its_own_day(dates: list[tuple[int, int, int] | None]) -> None:
    history = [interaction(number, date) for number, date in enumerate(dates)]
    assert list(by_day(history)) == [0, 1, 2]
    assert numbers(history) == [["0"], ["1"], ["2"]]


def test_a_bank_is_the_same_after_json() -> None:
    bank = MemoryBank(events="It rained.", personality="Likes rain.", pieces=(piece(1), piece(2, 3, 4)))
    assert MemoryBank.from_json(bank.to_json()) == bank
