"""One method against another on the same questions of the same users."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import NormalDist

import numpy as np

from ..data.errors import InputError
from ..data.task import Task
from .intervals import DRAWS, TINY, Estimate, Sample, batches, excess_intervals, pooled
from .metrics import Array, have_probabilities
from .record import Row

EXACT = 4_096
"""All swaps are tried if there are at most so many: up to 12 users."""
POWER = 0.8
ALPHA = 0.05
"""Of a two-sided test."""


@dataclass(frozen=True)
class Difference(Estimate):
    """By how much a method's metric exceeds a baseline's; below 0 is better where the metric is an error."""

    p_value: float | None
    """Two-sided, of the hypothesis that it does not matter which method answers; None if `value` is no number."""
    users: int
    users_needed: int | None
    """For how many users a difference of this size would be seen four times in five; None if there is none to see."""


def differences(task: Task, rows: Iterable[Row], baseline_rows: Iterable[Row]) -> dict[str, Difference]:
    """Compare each metric of a method over all questions with a baseline's; no answer is a wrong answer.

    Returns:
        Method less baseline for each metric that both have; nothing if there are no rows.

    Raises:
        InputError: A question is missing on one side, or is there twice.
    """
    both = _same_questions(rows, baseline_rows)
    with_probabilities = all(have_probabilities(its_rows) for its_rows in both)
    sample, baseline = (pooled(task, its_rows, with_probabilities=with_probabilities) for its_rows in both)
    return compared(sample, baseline)


def compared(sample: Sample, baseline: Sample, seed: int = 0, draws: int = DRAWS) -> dict[str, Difference]:
    """Compare two samples of the same users, in the same order.

    The interval is that of `excess_intervals`; the p-value is of a permutation test that swaps the two methods' answers
    to all questions of a user: in all ways if there are few users, else in random ones, of which what was observed
    counts as one (Phipson and Smyth, Permutation P-values Should Never Be Zero, arXiv 1603.05766). The seed is that of
    the random swaps; `draws` says how many there are, with the one that was observed.
    """
    if not sample.users:
        return {}

    def excess(totals: Array) -> dict[str, Array]:
        of_method, of_baseline = (sample.metrics(half) for half in np.split(totals, 2, axis=-1))
        return {name: value - of_baseline[name] for name, value in of_method.items()}

    together = Sample(np.concatenate([sample.totals, baseline.totals], axis=-1), excess)
    estimated, needed = excess_intervals(together), users_needed(together)
    p_values = _p_values(together, seed, draws)
    return {
        name: Difference(found.value, found.low, found.high, p_values[name], together.users, needed[name])
        for name, found in estimated.items()
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for having looked at all of them, so that at most 5 % of such families show any false difference.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6 (1979).
    """
    found = np.array(p_values, dtype=np.float64)
    order, adjusted = np.argsort(found, kind="stable"), np.empty_like(found)
    factors = np.arange(len(found), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * found[order]), 1)
    return adjusted.tolist()


def _p_values(together: Sample, seed: int, draws: int) -> dict[str, float | None]:
    """Return the share of swaps that part the methods at least as far as what was observed."""
    users, observed = together.users, together.values
    of_method, of_baseline = np.split(together.totals, 2, axis=-1)
    if exact := 2**users <= EXACT:
        swaps: Iterable[Array] = [np.array(list(product((0.0, 1.0), repeat=users)))]
    else:
        swaps = _random_swaps(users, draws - 1, seed)
    tried, as_far = (2**users, 0) if exact else (draws, 1)
    counts = dict.fromkeys(observed, as_far)
    with np.errstate(over="ignore", invalid="ignore"):
        gained = np.concatenate([of_baseline - of_method, of_method - of_baseline], axis=-1)
        for swapped in swaps:
            for name, values in together.metrics(together.totals.sum(axis=0) + swapped @ gained).items():
                counts[name] += int(np.sum(np.abs(values) >= abs(observed[name]) - TINY))
    return {name: counts[name] / tried if math.isfinite(value) else None for name, value in observed.items()}


def _random_swaps(users: int, draws: int, seed: int) -> Iterator[Array]:
    """Return which users to swap: 1 for one who is swapped, else 0, in pieces of shape (some draws, users)."""
    generator = np.random.default_rng(seed)
    yield from (generator.integers(0, 2, (size, users)).astype(np.float64) for size in batches(draws))


def _same_questions(rows: Iterable[Row], baseline_rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Return the rows of both sides."""
    first, second = _by_question(rows), _by_question(baseline_rows)
    for asked, answered, name in ((first, second, "baseline"), (second, first, "method")):
        if missing := sorted(asked.keys() - answered.keys()):
            user_key, question_id = missing[0]
            raise InputError(
                f"question {question_id!r} of user {user_key[:12]!r} is missing from the {name}'s rows:"
                " methods are compared on the same questions"
            )
    return list(first.values()), list(second.values())


def _by_question(rows: Iterable[Row]) -> dict[tuple[str, str], Row]:
    by_question: dict[tuple[str, str], Row] = {}
    for row in rows:
        question = row.user_key, row.question_id
        if question in by_question:
            raise InputError(
                f"question {row.question_id!r} of user {row.user_key[:12]!r} is there twice: pass one method's rows"
            )
        by_question[question] = row
    return by_question


def users_needed(sample: Sample) -> dict[str, int | None]:
    """Return for how many users a t-test would see the sample's values as different from 0, four times in five.

    The test is the two-sided one at 5 %, and the truth is taken to be what was observed: an extrapolation, as rough as
    the observed value itself. The standard deviation between users is the jackknife's; for an average over users it is
    the usual one.

    Source: Guenther, Sample Size Formulas for Normal Theory T Tests, The American Statistician 35 (1981) (number);
    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 11 (jackknife).

    Returns:
        The number of users by metric; None if the value is 0 or no number, or if there are fewer than two users.
    """
    values = sample.values
    needed: dict[str, int | None] = dict.fromkeys(values)
    if sample.users < 2:
        return needed
    two_sided, powerful = (NormalDist().inv_cdf(level) for level in (1 - ALPHA / 2, POWER))
    for name, without in sample.without_each.items():
        deviation = (sample.users - 1) * float(np.std(without)) * math.sqrt(sample.users / (sample.users - 1))
        if math.isfinite(values[name]) and math.isfinite(deviation) and abs(values[name]) > TINY:
            needed[name] = math.ceil(((two_sided + powerful) * deviation / values[name]) ** 2 + two_sided**2 / 2)
    return needed
