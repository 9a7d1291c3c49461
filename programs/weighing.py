"""From what an LM says to the answer that is given: the user's habits and memory are weighed against it."""

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

from ..data.answer_weights import (
    AnswerWeights,
    Distribution,
    Experts,
    best_answer,
    blended,
    normalised,
    prior_of,
    votes_of,
)
from ..data.call import as_written
from ..data.statement import Episode
from ..data.task import Task
from .decision_lm import is_certain

_log = logging.getLogger(__name__)

DOUBT = 0.1
"""What an LM that gives no probabilities leaves to the answers that it did not give."""


class Weighed(NamedTuple):
    """An answer, and why."""

    response: str
    probabilities: Distribution
    experts: Experts | None
    """What each expert said; None if there are no weights."""


def decided(task: Task, lm: Distribution, multipliers: Mapping[str, float]) -> Weighed:
    """Return the answer of an LM alone: the one that the task's metric rewards most."""
    probabilities = normalised({answer: share * multipliers.get(answer, 1.0) for answer, share in lm.items()})
    return Weighed(best_answer(probabilities, task.rewards), probabilities, None)


def weighed(
    task: Task,
    lm: Distribution,
    weights: AnswerWeights,
    answered: Sequence[Episode],
    multipliers: Mapping[str, float] | None = None,
) -> Weighed:
    """Return the answer of an LM, the user's prior and the user's memory together.

    Args:
        task: What is asked.
        lm: What the LM says of this question, as it says it.
        weights: How far each is believed.
        answered: The user's past interactions with a ground truth, each with its likeness to the question.
        multipliers: What takes the LM's leaning out; by default that of `weights`.
    """
    experts = experts_of(lm, weights, answered, multipliers)
    probabilities = blended(experts, weights)
    return Weighed(best_answer(probabilities, task.rewards), probabilities, experts)


def experts_of(
    lm: Distribution,
    weights: AnswerWeights,
    answered: Sequence[Episode],
    multipliers: Mapping[str, float] | None = None,
) -> Experts:
    """Return what each expert says of a question; see `weighed`."""
    given = [episode.interaction.ground_truth or "" for episode in answered]
    prior = prior_of(given, weights.base_rate)
    votes = votes_of([episode.similarity for episode in answered], given, prior)
    factors = weights.multipliers if multipliers is None else multipliers
    leaned = {answer: share * factors.get(answer, 1.0) for answer, share in softened(lm).items()}
    return Experts(lm=normalised(leaned), prior=prior, memory=votes)


def softened(lm: Distribution) -> Distribution:
    """Return a distribution that leaves every answer possible, where an LM gave its answer alone."""
    if not is_certain(lm):
        return lm
    return {answer: (1 - DOUBT) * share + DOUBT / len(lm) for answer, share in lm.items()}


def serves(weights: AnswerWeights, task: Task, lm: str) -> bool:
    """Whether weights were made for this task and this LM; if not, the log says so once."""
    if weights.task == task.name and weights.lm == lm and set(weights.base_rate) == set(task.labels):
        return True
    _say_once(
        f"the answer weights are for {weights.task} and {as_written(weights.lm)}: "
        f"answers of {as_written(lm)} to {task.name} are not weighed"
    )
    return False


@cache
def _say_once(message: str) -> None:
    _log.warning(message)
