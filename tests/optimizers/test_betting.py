"""Bets: the formula, what is guaranteed, and two other packages as witnesses. All differences are simulated.

`pytest -s tests/optimizers/test_betting.py` prints the measured shares, and `-m soak` those of 10,000 repeats.
"""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from online_fdr.e_values import BettingEProcess
from ville import BettingTest

from personaagent.optimizers.betting import HarmWatch, bets_until, evidence_of, wealth, wealths

from .simulated_users import FULL, SHARE, families, lines, report

REPEATS = [SHARE, pytest.param(FULL, marks=pytest.mark.soak)]
differences = st.lists(st.floats(-1, 1), max_size=30)


def test_the_first_stake_is_five_sixths_and_the_second_follows_the_first_bet() -> None:
    first = 1 + 1 / 1.2 * 0.4
    assert list(wealths([0.2, -0.1])) == pytest.approx([first, first * (1 - 0.95 * 0.2)])
    lost = 1 - 1 / 1.2 * 0.8
    assert list(wealths([-0.4, 0.1])) == pytest.approx([lost, lost * (1 + (1 - 0.8) / (1.2 + 0.64) * 0.2)])


def test_nothing_is_staked_on_what_has_only_lost() -> None:
    *_, before, after = wealths([-0.5, -0.5, 0.5])
    assert after == before > 0


def test_each_user_is_one_bet_however_many_interactions_there_are() -> None:
    assert wealth([[0.1, 0.3], [-0.2]]) == pytest.approx(list(wealths([0.2, -0.2]))[-1])
    assert wealth([[0.2] * 50]) == pytest.approx(wealth([[0.2]]))
    assert wealth([[], [0.2], []]) == wealth([[0.2]])
    assert wealth([]) == wealth([[]]) == 1


def test_betting_stops_when_there_is_enough() -> None:
    helping = [[0.5]] * 20
    stopped = wealth(helping, enough=20)
    assert 20 <= stopped < 40 < wealth(helping)
    assert bets_until((0.5 for _ in range(20)), 20) == 5
    assert bets_until([0.0] * 20, 20) is None


def test_evidence_counts_the_bets() -> None:
    evidence = evidence_of([[0.1, 0.3], [], [0.0]], enough=20)
    assert (evidence.n, evidence.mean) == (2, pytest.approx(0.1))
    assert evidence.wealth == pytest.approx(wealth([[0.2], [0.0]]))
    assert evidence_of([]).model_dump() == {"schema_version": 1, "n": 0, "mean": 0.0, "wealth": 1.0}


@given(differences)
def test_wealth_never_falls_to_nothing(given_differences: list[float]) -> None:
    assert all(0 < reached < math.inf for reached in wealths(given_differences))


@given(differences)
def test_no_stake_depends_on_what_comes_later(given_differences: list[float]) -> None:
    cut = len(given_differences) // 2
    assert list(wealths(given_differences))[:cut] == list(wealths(given_differences[:cut]))


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30))
def test_the_wealth_is_that_of_online_fdr_with_the_same_stakes(given_differences: list[float]) -> None:
    bets = [2 * min(max(one, -0.5), 0.5) for one in given_differences]
    process = BettingEProcess(stake=0)
    for position, (bet, reached) in enumerate(zip(bets, wealths(given_differences), strict=True)):
        earlier = bets[:position]
        mean, square = 1 + sum(earlier), 1.2 + sum(one * one for one in earlier)
        process.stake = float(np.clip(mean / square, 0, 0.95))
        assert reached == pytest.approx(process.update(bet))


@pytest.mark.parametrize("repeats", REPEATS)
def test_without_an_effect_enough_is_rarely_reached_however_often_it_is_looked_at(repeats: int) -> None:
    reached = ville = 0
    for line in lines(effect=0, interactions=100, repeats=repeats, seed=1):
        reached += bets_until(line, 20) is not None
        ville += BettingTest(m0=0, bounds=(-1, 1), alternative="greater").fit(line).rejected_
    report(f"no effect, 100 interactions: accepted {reached / repeats:.4f}, by ville {ville / repeats:.4f}")
    assert reached <= 0.05 * repeats
    assert ville <= 0.05 * repeats


@pytest.mark.parametrize("repeats", REPEATS)
@pytest.mark.parametrize(("effect", "interactions"), [(0.1, 40), (0.1, 100), (0.2, 20)])
def test_an_effect_is_seen_no_later_than_by_ville(effect: float, interactions: int, repeats: int) -> None:
    reached = ville = 0
    for line in lines(effect, interactions, repeats, seed=2):
        reached += bets_until(line, 20) is not None
        ville += BettingTest(m0=0, bounds=(-1, 1), alternative="greater").fit(line).rejected_
    report(f"+{effect}, {interactions} interactions: accepted {reached / repeats:.3f}, by ville {ville / repeats:.3f}")
    assert reached >= ville


@pytest.mark.parametrize("repeats", REPEATS)
def test_one_bet_for_each_interaction_of_users_who_differ_would_break_the_guarantee(repeats: int) -> None:
    by_user = by_interaction = 0
    for family in families(effect=0, users=20, items=20, repeats=repeats, seed=3):
        by_user += wealth(family, enough=20) >= 20
        by_interaction += bets_until([one for user in family for one in user], 20) is not None
    shares = f"by user {by_user / repeats:.4f}, by interaction {by_interaction / repeats:.4f}"
    report(f"no mean effect, 20 users x 20: certified {shares}")
    assert by_user <= 0.05 * repeats < by_interaction


@pytest.mark.parametrize("repeats", REPEATS)
def test_harm_is_seen_within_40_interactions_and_rarely_where_there_is_none(repeats: int) -> None:
    def share(effect: float, interactions: int, seed: int) -> float:
        seen = [HarmWatch().harmful_after(line) for line in lines(effect, interactions, repeats, seed)]
        return sum(after is not None for after in seen) / repeats

    harmful, harmless, long = share(-0.2, 40, 4), share(0, 40, 5), share(0, 400, 6)
    report(f"harm .20 seen in 40: {harmful:.4f}; no harm in 40: {harmless:.4f}, in 400: {long:.4f}, {repeats} lines")
    assert harmful >= 0.95
    assert max(harmless, long) <= 0.03


def test_harm_is_the_change_on_less_off_turned_round() -> None:
    assert HarmWatch(alpha=0.05).harmful_after([-0.5] * 10) == bets_until([0.5] * 10, 20) == 5
    assert HarmWatch().harmful_after([0.5] * 100) is None


def test_a_smaller_alpha_waits_longer() -> None:
    waits = [HarmWatch(alpha).harmful_after([-0.3] * 40) or 99 for alpha in (0.2, 0.1, 0.03, 0.001)]
    assert all(earlier <= later for earlier, later in pairwise(waits)) and waits[0] < waits[-1] < 40
