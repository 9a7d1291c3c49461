"""Betting that a change helps: evidence that may be looked at after every interaction.

Wealth starts at 1. Each bet stakes a share of it, chosen from earlier bets only, on the mean difference `d` between
the scores with the change and without it:

    x = 2 * clip(mean d, -.5, .5)
    wealth *= 1 + stake * x,   stake = clip((10 * .1 + sum x) / (10 * .12 + sum x^2), 0, .95)   over earlier bets

This is an e-process (Waudby-Smith & Ramdas 2024, arXiv 2010.09686). If no bet has a positive expectation given the
earlier ones, wealth ever reaches `1 / alpha` with probability at most `alpha` (Ville's inequality), however often it is
looked at.

Over several users there is one bet for each *user*, in an order that does not depend on scores: users differ, and a
bet for each interaction of them all would break the guarantee. Over a single user's interactions there is one bet for
each *interaction*.

What is not guaranteed: that every user gains, as it is about a mean; anything about the mean of differences beyond
.5 in size, since they are clipped (many small gains can hide a rare large loss); a single user's line if what the
change does to one score depends on the scores before; and the share of false ones among many lines of one user, as
each line has its own `alpha`.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from ..data.change import ChangeKind, Evidence

_PRIOR_BETS = 10
_PRIOR_MEAN = 0.1
_PRIOR_SQUARE = 0.12
_GREATEST_STAKE = 0.95
_GREATEST_DIFFERENCE = 0.5


def wealths(differences: Iterable[float]) -> Iterator[float]:
    """Yield the wealth after each bet.

    Args:
        differences: One for each bet: of a user's interaction, or the mean of a user's; in [-1, 1].
    """
    wealth, total, squares = 1.0, _PRIOR_BETS * _PRIOR_MEAN, _PRIOR_BETS * _PRIOR_SQUARE
    for difference in differences:
        bet = min(max(difference, -_GREATEST_DIFFERENCE), _GREATEST_DIFFERENCE) / _GREATEST_DIFFERENCE
        stake = min(max(total / squares, 0.0), _GREATEST_STAKE)
        wealth *= 1 + stake * bet
        total += bet
        squares += bet * bet
        yield wealth


def bets_until(differences: Iterable[float], enough: float) -> int | None:
    """Return after how many bets the wealth first reaches `enough`, or None if it never does."""
    return next((bets for bets, wealth in enumerate(wealths(differences), 1) if wealth >= enough), None)


def wealth(differences_by_user: Iterable[Sequence[float]], enough: float = math.inf) -> float:
    """Return the wealth after one bet for each user, or as soon as it reaches `enough`.

    Stopped there or not, its expectation is at most 1 if the change does no good.

    Args:
        differences_by_user: Each user's differences; a user without any makes no bet.
        enough: A number fixed before the differences are seen.
    """
    reached = 1.0
    for reached in wealths(fmean(differences) for differences in differences_by_user if differences):
        if reached >= enough:
            break
    return reached


def evidence_of(differences_by_user: Sequence[Sequence[float]], enough: float = math.inf) -> Evidence:
    """Return what differences say, with one bet for each user.

    For a line of a single user, give each interaction as a user of its own.
    """
    means = [fmean(differences) for differences in differences_by_user if differences]
    return Evidence(n=len(means), mean=fmean(means) if means else 0.0, wealth=wealth(differences_by_user, enough))


@dataclass(frozen=True)
class HarmWatch:
    """Bets on the opposite, without the change less with it, while a change is live.

    A change that does no harm is ever retired with probability at most `alpha`, however long it is watched. One that
    helped for long and begins to harm is noticed late, as the stake follows all earlier interactions.
    """

    alpha: float = 0.03

    def harmful_after(self, differences: Iterable[float]) -> int | None:
        """Return after how many interactions the harm is certain enough, or None if it is not.

        Args:
            differences: With the change less without it, in time order.
        """
        return bets_until((-difference for difference in differences), 1 / self.alpha)


def certify_kinds(
    differences: Mapping[ChangeKind, Sequence[Sequence[float]]], alpha: float = 0.05
) -> dict[ChangeKind, Evidence]:
    """Return the kinds that help, each with its evidence.

    Kinds are tested one after another at e-LOND levels (Xu & Ramdas, AISTATS 2024): with K kinds the level is
    `alpha / K`, times one more than the kinds certified before. The expected share of kinds that do no good among those
    certified is at most `alpha`, and so is the probability of certifying any particular one of them, even though the
    same users score them all. It is not certified that every user gains.

    The order of kinds counts, as a later one has the higher level: fix it, and the order of users, before scoring.

    Args:
        differences: By kind, each user's differences: score with the changes of this kind less without them.
        alpha: The false discovery rate.
    """
    certified: dict[ChangeKind, Evidence] = {}
    for kind, by_user in differences.items():
        least_level = alpha / len(differences)
        # Betting may stop at a level fixed beforehand, as this one is; the level itself follows from the other kinds.
        evidence = evidence_of(by_user, enough=1 / least_level)
        if evidence.wealth >= 1 / (least_level * (len(certified) + 1)):
            certified[kind] = evidence
    return certified
