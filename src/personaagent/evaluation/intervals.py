"""How far a number of an evaluation can be trusted: 95 % intervals by a bootstrap over users."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from ..data.task import Task
from .official import Array
from .rows import Row
from .totals import Sample, averaged, pooled

LEVEL = 0.95
RESAMPLES = 10_000
BATCH = 1_000
"""Draws that are held in memory at a time."""
TINY = 1e-12
"""Differences below this are the rounding of sums."""

_NORMAL = NormalDist()


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval."""

    value: float
    low: float | None
    """None, as `high`, where there is no interval: one user, users who are all alike, or a value that is no number."""
    high: float | None


def estimates(task: Task, rows: Iterable[Row], seed: int = 0) -> dict[str, Estimate]:
    """Return each metric over all questions, with the interval in which it would lie for users like these.

    Args:
        task: The task of the rows.
        rows: The rows of one method, in any order; no answer is a wrong answer. For scored questions alone, pass
            `scored(rows)`.
        seed: Of the resamples.

    Returns:
        The metrics of the task's kind; none if there are no rows.
    """
    return intervals(pooled(task, rows), seed)


def per_user_estimates(task: Task, rows: Iterable[Row], seed: int = 0) -> dict[str, Estimate]:
    """Return each metric's average over users, with its interval; otherwise as `estimates`."""
    return intervals(averaged(task, rows), seed)


def intervals(sample: Sample, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, Estimate]:
    """Return the metrics of a sample of users with their 95 % intervals.

    The interval is the bias-corrected percentile interval of a bootstrap over users, expanded for small samples as if
    there were as many users as the sample is worth (`Sample.effective_users`): a plain percentile interval is too
    narrow for ten users, and narrower still if few of them have most of the questions. It never leaves the metric's
    range and always holds the value.

    In simulations (tests/evaluation/test_statistics_coverage.py) it holds the truth in 93 to 97 % of samples of ten or
    more users; RMSE and macro-F1 of ten users in 91 to 98 %. It holds it less often near the end of a range (ten users,
    nine in ten answers right: about 90 %), and macro-F1 while users are too few to show every label (15 labels, thirty
    users: about 80 %).

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 14 (without acceleration); Hesterberg,
    What Teachers Should Know about the Bootstrap, arXiv 1411.5279 (expansion).

    Args:
        sample: The users.
        seed: Of the resamples: the same seed, the same interval.
        resamples: How many; the default keeps the seed's share in an interval's end to a few hundredths of its width.
    """
    values = sample.values
    if sample.users < 2:
        return {name: Estimate(value, None, None) for name, value in values.items()}
    drawn = _resampled(sample, np.random.default_rng(seed), resamples)
    margin = _margin(sample.effective_users)
    return {name: _interval(value, drawn[name], margin) for name, value in values.items()}


def batches(total: int) -> Iterator[int]:
    """Split a number of draws into pieces of at most `BATCH`."""
    yield from (min(BATCH, total - done) for done in range(0, total, BATCH))


def _resampled(sample: Sample, generator: np.random.Generator, resamples: int) -> dict[str, Array]:
    equal = np.full(sample.users, 1 / sample.users)
    with np.errstate(over="ignore", invalid="ignore"):
        drawn = [
            sample.metrics(generator.multinomial(sample.users, equal, size=size) @ sample.totals)
            for size in batches(resamples)
        ]
    return {name: np.concatenate([batch[name] for batch in drawn]) for name in drawn[0]}


def _margin(users: float) -> float:
    """Return how many standard deviations of the bootstrap lie to each side of the value.

    It is Student's quantile, times the factor by which the bootstrap's standard deviation falls short of the usual one.
    """
    from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

    at_least_two = max(users, 2.0)
    student = float(stdtrit(at_least_two - 1, (1 + LEVEL) / 2))
    return student * math.sqrt(at_least_two / (at_least_two - 1))


def _interval(value: float, drawn: Array, margin: float) -> Estimate:
    if not np.isfinite(drawn).all() or np.ptp(drawn) <= TINY:
        return Estimate(value, None, None)
    below = (np.sum(drawn < value - TINY) + np.sum(drawn <= value + TINY) + 1) / (2 * len(drawn) + 2)
    bias = 2 * _NORMAL.inv_cdf(float(below))
    low, high = np.quantile(drawn, [_NORMAL.cdf(bias - margin), _NORMAL.cdf(bias + margin)])
    return Estimate(value, min(float(low), value), max(float(high), value))
