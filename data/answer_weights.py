"""Answer weights: how far an LM, a user's habits and a user's memory are believed about the next answer.

    p(y | x, user)  is proportional to  (lm(y) / leaning(y))^a * prior(y)^b * (votes(y) / prior(y))^c

`lm` is what the LM says of this question, `leaning` what it says of any question of this task, `prior` how often the
user gives each answer, and `votes` what the user answered to questions like this one. Dividing by `leaning` takes out
the LM's own habits (generative calibration, arXiv 2310.10266).
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pydantic import Field

from . import html
from .call import as_written
from .nouns import Noun

Distribution = dict[str, float]
"""Probability by answer; sums to 1."""

PRIOR_STRENGTH = 5.0
"""Answers of other users that a user's own are mixed with."""
VOTE_TEMPERATURE = 0.07
"""How fast a vote fades with the cosine between two questions."""
SMOOTHING_VOTES = 2.0
"""Votes cast by the prior, so that a memory of one answer is no certainty."""
LEAST_BELIEF = 0.05
"""Least `a`. At 0, no multiplier of the LM's probabilities could stand for the prior."""
MOST_BELIEF = 4.0
_FLOOR = 1e-9


class AnswerWeights(Noun):
    """What was learned from many users about one LM, one task and one prompt form; nothing of any user is in it."""

    lm: str
    """The model's name."""
    task: str
    form: str
    """What the prompt holds, by name: `lean`, `rag:k=4`, `prompt`."""
    leaning: Distribution
    """The LM's mean distribution over questions of the task."""
    base_rate: Distribution
    """How often users give each answer; a user's own answers are mixed with `PRIOR_STRENGTH` of these."""
    a: float = Field(default=1.0, ge=LEAST_BELIEF, le=MOST_BELIEF)
    """How far the LM is believed."""
    b: float = Field(default=1.0, ge=0, le=MOST_BELIEF)
    """How far the user's prior is believed."""
    c: float = Field(default=0.0, ge=0, le=MOST_BELIEF)
    """How far the user's memory is believed."""
    users: int = Field(default=0, ge=0)
    """Users whose scored interactions a, b and c were fitted on."""
    interactions: int = Field(default=0, ge=0)
    """Those interactions."""

    @property
    def multipliers(self) -> Distribution:
        """What a DSPy predictor multiplies the LM's probabilities by: the inverse of its leaning."""
        inverse = {answer: 1 / max(share, _FLOOR) for answer, share in self.leaning.items()}
        total = sum(inverse.values())
        return {answer: value / total for answer, value in inverse.items()}

    @property
    def fitted_on(self) -> str:
        """Whose interactions say how far each is believed, in words."""
        return f"fitted on {self.interactions} interactions of {self.users} users" if self.users else "fitted on nobody"

    def as_html(self) -> str:
        """Return a bar for each of those who have a say in an answer, for a notebook."""
        named = ((as_written(self.lm), self.a), ("the user's habits", self.b), ("the user's memory", self.c))
        rows = [(name, html.bar(weight / MOST_BELIEF, f"{weight:g}")) for name, weight in named]
        return html.table((), rows, f"How answers are weighed, {self.fitted_on}")


class Experts(Noun):
    """What each expert says of one question, before they are weighed."""

    lm: Distribution
    """The LM, with its leaning taken out."""
    prior: Distribution
    """The user's answers to all questions."""
    memory: Distribution
    """The user's answers to questions like this one."""


def uniform(answers: Iterable[str]) -> Distribution:
    """Return the uniform distribution."""
    names = tuple(answers)
    return dict.fromkeys(names, 1 / len(names))


def normalised(weights: Mapping[str, float]) -> Distribution:
    """Return the weights divided by their sum; uniform if all are 0."""
    total = sum(weights.values())
    return {answer: weight / total for answer, weight in weights.items()} if total > 0 else uniform(weights)


def prior_of(given: Iterable[str], base_rate: Distribution) -> Distribution:
    """Return how often a user gives each answer, mixed with the base rate; other answers do not count."""
    counts = Counter(answer for answer in given if answer in base_rate)
    total = counts.total() + PRIOR_STRENGTH
    return {answer: (counts[answer] + PRIOR_STRENGTH * share) / total for answer, share in base_rate.items()}


def votes_of(likenesses: Sequence[float], given: Sequence[str], prior: Distribution) -> Distribution:
    """Return what the user answered to questions like this one.

    Each past answer has a vote, the softmax of its likeness. `SMOOTHING_VOTES` go to the prior, against as many votes
    as the past answers are worth: few if a few are much more alike than the others.

    Args:
        likenesses: Cosine between this question and each past one.
        given: The answers to those, in the same order; those that are not in `prior` do not count.
        prior: How often the user gives each answer.
    """
    pairs = [(likeness, answer) for likeness, answer in zip(likenesses, given, strict=True) if answer in prior]
    if not pairs:
        return prior
    greatest = max(likeness for likeness, _ in pairs)
    shares = [math.exp((likeness - greatest) / VOTE_TEMPERATURE) for likeness, _ in pairs]
    total = sum(shares)
    effective = total * total / sum(share * share for share in shares)
    votes = {answer: SMOOTHING_VOTES * share for answer, share in prior.items()}
    for share, (_, answer) in zip(shares, pairs, strict=True):
        votes[answer] += effective * share / total
    return normalised(votes)


def blended(experts: Experts, weights: AnswerWeights) -> Distribution:
    """Return what the experts say together, each believed as far as `weights` say."""
    logs = {
        answer: weights.a * _log(experts.lm[answer])
        + (weights.b - weights.c) * _log(prior)
        + weights.c * _log(experts.memory[answer])
        for answer, prior in experts.prior.items()
    }
    greatest = max(logs.values())
    return normalised({answer: math.exp(log - greatest) for answer, log in logs.items()})


def best_answer(probabilities: Distribution, metric: str) -> str:
    """Return the answer that a metric rewards most, of equals the first.

    Args:
        probabilities: By answer; for `mae` and `rmse` the answers are whole numbers.
        metric: `accuracy` rewards the most probable answer, `mae` the median, `rmse` the mean, rounded.
    """
    if metric == "accuracy":
        return max(probabilities, key=probabilities.__getitem__)
    ordered = sorted(probabilities, key=int)
    if metric == "mae":
        reached = 0.0
        for answer in ordered:
            reached += probabilities[answer]
            if reached >= 0.5 - 1e-12:
                return answer
        return ordered[-1]
    mean = sum(int(answer) * probability for answer, probability in probabilities.items())
    return min(ordered, key=lambda answer: abs(int(answer) - mean))


def _log(probability: float) -> float:
    return math.log(max(probability, _FLOOR))
