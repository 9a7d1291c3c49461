"""How often intervals hold the truth and how often p-values see what is not there, by simulation.

`pytest -m soak -s tests/evaluation/test_statistics_coverage.py` prints the measured shares; with 4,000 repetitions each
is within 0.35 points (one standard error) of the true one. Users are drawn from populations whose truth is known and
differ from each other: the questions of one user are not independent. How many questions a user has is uneven too:
log-normal, where the most diligent of ten users has about a third of all questions.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import comb

import numpy as np
import pytest

from personaagent.data.task import Task
from personaagent.evaluation.intervals import Sample, intervals
from personaagent.evaluation.metrics import Array, metrics_of
from personaagent.evaluation.paired import compared

SHARE, FULL = 200, 4_000
DRAWS = 1_000

Draw = Callable[[np.random.Generator, np.random.Generator, Array, float], Array]
"""Draws users' totals from: what decides their traits, what decides their answers, how many questions each has, and how
far (0 to 1) a method is from answering some users better than others."""
Questions = Callable[[np.random.Generator, int], Array]
"""Draws how many questions each of so many users has."""


def label_totals(
    labels: int,
    known: float,
    traits: np.random.Generator,
    answers: np.random.Generator,
    questions: Array,
    evenness: float,
) -> Array:
    """Draw totals of users who each like some labels more, and whom a method knows more or less well."""
    users = len(questions)
    favourites = traits.dirichlet(5.0 * _popularity(labels), users)
    of_user = (1 - evenness) * traits.beta(3 * known, 3 - 3 * known, (users, 1, 1)) + evenness * known
    guessed = favourites[:, :, None] * favourites[:, None, :]
    joint = (of_user * favourites[:, :, None] * np.eye(labels) + (1 - of_user) * guessed).reshape(users, -1)
    pairs = answers.multinomial(questions.astype(int), joint / joint.sum(axis=1, keepdims=True))
    pairs = pairs.reshape(users, labels, labels)
    right = np.einsum("ull->ul", pairs)
    said_or_true = pairs.sum(axis=1) + pairs.sum(axis=2)
    return np.column_stack([questions, right.sum(axis=1), right, said_or_true]).astype(np.float64)


def truth_of_labels(labels: int, known: float) -> dict[str, float]:
    popularity = _popularity(labels)
    right = known * popularity + (1 - known) * (popularity**2 + popularity * (1 - popularity) / 6)
    return {"accuracy": float(right.sum()), "macro_f1": float((right / popularity).mean())}


def _popularity(labels: int) -> Array:
    shares = 1 / (2.0 + np.arange(labels))
    return shares / shares.sum()


def rating_totals(
    hardness: float, traits: np.random.Generator, answers: np.random.Generator, questions: Array, evenness: float
) -> Array:
    """Draw totals of users whose ratings are harder or easier to tell; a rating is off by up to four."""
    hard = (1 - evenness) * traits.beta(10 * hardness, 10 - 10 * hardness, (len(questions), 1)) + evenness * hardness
    shares = np.concatenate([comb(4, off) * hard**off * (1 - hard) ** (4 - off) for off in range(5)], axis=1)
    off = answers.multinomial(questions.astype(int), shares / shares.sum(axis=1, keepdims=True))
    return np.column_stack([questions, off @ np.arange(5), off @ np.arange(5) ** 2]).astype(np.float64)


def truth_of_ratings(hardness: float) -> dict[str, float]:
    squared = 4 * hardness + 12 * (hardness * (1 - hardness) / 11 + hardness**2)
    return {"mae": 4 * hardness, "rmse": math.sqrt(squared)}


def four_questions(_: np.random.Generator, users: int) -> Array:
    return np.full(users, 4.0)


def uneven_questions(generator: np.random.Generator, users: int) -> Array:
    return np.maximum(1.0, np.round(generator.lognormal(np.log(6), 0.9, users)))


@dataclass(frozen=True)
class Population:
    """Users to draw from, and what a method would achieve with all of them."""

    task: Task
    draw: Draw
    truth: dict[str, float]

    def sample(self, generator: np.random.Generator, questions: Array) -> Sample:
        return Sample(self.draw(generator, generator, questions, 0.0), partial(metrics_of, self.task))

    def averaged(self, generator: np.random.Generator, questions: Array) -> Sample:
        """Return a sample in which users count equally, with the metric that is a mean over questions."""
        sample, name = self.sample(generator, questions), next(iter(self.truth))
        totals = np.column_stack([np.ones(len(questions)), sample.metrics(sample.totals)[name]])
        return Sample(totals, lambda sums: {name: sums[..., 1] / sums[..., 0]})

    def pair(self, generator: np.random.Generator, questions: Array) -> tuple[Sample, Sample]:
        """Return two methods that are equally good on the whole, of which one is as good for every user."""
        seed = int(generator.integers(2**32))
        totals = (self.draw(np.random.default_rng(seed), generator, questions, evenness) for evenness in (0.0, 1.0))
        first, second = (Sample(of, partial(metrics_of, self.task)) for of in totals)
        return first, second


def labelled(labels: int, known: float = 0.6) -> Population:
    name = f"{labels} labels known to {known:.0%}"
    task = Task(name=name, kind="label", labels=tuple(f"label {number}" for number in range(labels)))
    return Population(task, partial(label_totals, labels, known), truth_of_labels(labels, known))


def rated(hardness: float = 0.2) -> Population:
    task = Task(name=f"ratings off by {4 * hardness:.1f}", kind="rating", labels=tuple("12345"))
    return Population(task, partial(rating_totals, hardness), truth_of_ratings(hardness))


TWO, FIVE, FIFTEEN, RATINGS = labelled(2), labelled(5), labelled(15), rated()
NEARLY_ALL_RIGHT, SELDOM_OFF = labelled(2, known=0.8), rated(0.05)
populations = pytest.mark.parametrize("population", [TWO, FIVE, RATINGS], ids=lambda one: one.task.name)
questions_per_user = pytest.mark.parametrize("questions", [four_questions, uneven_questions])
sizes = pytest.mark.parametrize(
    ("users", "repetitions"),
    [(10, SHARE), (30, SHARE), *(pytest.param(users, FULL, marks=pytest.mark.soak) for users in (10, 30, 100))],
)


def coverage(
    of: Callable[[np.random.Generator], Sample], truth: dict[str, float], repetitions: int
) -> dict[str, float]:
    """Return how often the intervals of samples hold the truth; no interval holds nothing."""
    generator, held = np.random.default_rng(20), dict.fromkeys(truth, 0)
    for repetition in range(repetitions):
        for name, one in intervals(of(generator), repetition, DRAWS).items():
            held[name] += one.low is not None and one.high is not None and one.low <= truth[name] <= one.high
    return {name: count / repetitions for name, count in held.items()}


def check(what: str, shares: dict[str, float], repetitions: int, at_least: float = 0.93, at_most: float = 0.97) -> None:
    """Hold shares to 93 to 97 %; fewer repetitions may miss it by chance."""
    print(f"\n{what}: " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items()))  # noqa: T201
    for name, share in shares.items():
        assert at_least - by_chance(repetitions) <= share <= at_most + by_chance(repetitions), name


def by_chance(repetitions: int) -> float:
    """Return three standard errors of a share of about 5 or 95 %; none for the full count, whose results are known."""
    return 0.0 if repetitions == FULL else 3 * math.sqrt(0.05 * 0.95 / repetitions)


def test_the_truth_of_the_populations_is_what_many_users_come_to() -> None:
    for population in (TWO, FIVE, FIFTEEN, RATINGS, NEARLY_ALL_RIGHT, SELDOM_OFF):
        generator = np.random.default_rng(1)
        questions = four_questions(generator, 40_000)
        assert population.sample(generator, questions).values == pytest.approx(population.truth, abs=0.01)
        for one in population.pair(generator, questions):
            values = one.values
            values.pop("rmse", None)
            assert values == pytest.approx({name: population.truth[name] for name in values}, abs=0.01)


@sizes
@questions_per_user
@populations
def test_intervals_hold_the_truth(population: Population, questions: Questions, users: int, repetitions: int) -> None:
    shares = coverage(
        lambda generator: population.sample(generator, questions(generator, users)), population.truth, repetitions
    )
    check(f"coverage, {population.task.name}, {users} users, {questions.__name__}", shares, repetitions)


@pytest.mark.soak
@questions_per_user
@pytest.mark.parametrize("users", [30, 100])
def test_intervals_hold_the_macro_f1_of_labels_that_few_users_show(questions: Questions, users: int) -> None:
    shares = coverage(lambda generator: FIFTEEN.sample(generator, questions(generator, users)), FIFTEEN.truth, FULL)
    check(f"coverage, {FIFTEEN.task.name}, {users} users, {questions.__name__}", shares, FULL)


@pytest.mark.soak
@questions_per_user
@pytest.mark.parametrize(
    ("population", "users"),
    [(NEARLY_ALL_RIGHT, 10), (NEARLY_ALL_RIGHT, 30), (SELDOM_OFF, 10), (SELDOM_OFF, 30)],
    ids=lambda one: one.task.name if isinstance(one, Population) else str(one),
)
def test_intervals_near_an_end_of_the_range_nearly_do(population: Population, questions: Questions, users: int) -> None:
    shares = coverage(
        lambda generator: population.sample(generator, questions(generator, users)), population.truth, FULL
    )
    check(f"coverage, {population.task.name}, {users} users, {questions.__name__}", shares, FULL, 0.92, 0.975)


@sizes
@pytest.mark.parametrize("population", [FIVE, RATINGS], ids=lambda one: one.task.name)
def test_intervals_of_averages_over_users_hold_the_truth(population: Population, users: int, repetitions: int) -> None:
    name, truth = next(iter(population.truth.items()))
    shares = coverage(
        lambda generator: population.averaged(generator, uneven_questions(generator, users)), {name: truth}, repetitions
    )
    check(f"coverage per user, {population.task.name}, {users} users, uneven_questions", shares, repetitions)


@sizes
@questions_per_user
@populations
def test_between_equal_methods_a_difference_is_seen_no_more_often_than_it_may(
    population: Population, questions: Questions, users: int, repetitions: int
) -> None:
    generator = np.random.default_rng(21)
    names = [name for name in population.truth if name != "rmse"]
    held, seen = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for repetition in range(repetitions):
        method, baseline = population.pair(generator, questions(generator, users))
        found = compared(method, baseline, repetition, DRAWS)
        for name in names:
            low, high, p_value = found[name].low, found[name].high, found[name].p_value
            held[name] += low is not None and high is not None and low <= 0 <= high
            seen[name] += p_value is not None and p_value <= 0.05
    of = f"{population.task.name}, {users} users, {questions.__name__}"
    shares = {name: held[name] / repetitions for name in names}
    check(f"coverage of differences, {of}", shares, repetitions)
    rates = {name: seen[name] / repetitions for name in names}
    print(f"false positives, {of}: " + ", ".join(f"{name} {rate:.1%}" for name, rate in rates.items()))  # noqa: T201
    assert max(rates.values()) <= 0.06 + by_chance(repetitions)
