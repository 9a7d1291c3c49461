"""How far each expert is to be believed, fitted on the scored interactions of many users."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..data.answer_weights import LEAST_BELIEF, AnswerWeights, Distribution, Experts, normalised, uniform

SHRINKAGE = 4.0
"""How strongly a, b and c are held to `PRIOR_BELIEF`: as strongly as by so many interactions, about."""
PRIOR_BELIEF = (1.0, 1.0, 0.0)
MOST_BELIEF = 4.0
LEANING_STRENGTH = 5
"""Questions of which the LM knows nothing, added to those that it was asked: a few tell little of its leaning."""
_FLOOR = 1e-9

_Array = NDArray[np.float64]


class Observation(NamedTuple):
    """One interaction of a user, asked again with what was known before it."""

    user_key: str
    experts: Experts
    """What each said; the LM with its leaning still in."""
    truth: str


def leaning_of(distributions: Sequence[Distribution], answers: Sequence[str]) -> Distribution:
    """Return an LM's mean distribution over questions, those of `LEANING_STRENGTH` included.

    Args:
        distributions: What the LM says of each question.
        answers: The answers of the task.
    """
    return _mean([*distributions, *[uniform(answers)] * LEANING_STRENGTH], answers)


def base_rate_of(priors: Sequence[Distribution], answers: Sequence[str]) -> Distribution:
    """Return how often users give each answer, every user counting alike; a user who knows no answer best is added.

    Args:
        priors: How often each user gives each answer.
        answers: The answers of the task.
    """
    return _mean([*priors, uniform(answers)], answers)


def fitted(weights: AnswerWeights, observations: Sequence[Observation]) -> AnswerWeights:
    """Return weights whose a, b and c have the least log loss on these observations, shrunk to `PRIOR_BELIEF`.

    The loss is convex, so the same observations give the same weights.

    Args:
        weights: Holds the leaning and the base rate; its a, b and c are not used.
        observations: Of users other than those whom the weights are for.
    """
    from scipy import optimize as scipy_optimize  # pyright: ignore[reportMissingTypeStubs]

    if not observations:
        return weights.model_copy(update=dict(zip("abc", PRIOR_BELIEF, strict=True)))
    features = np.stack([_features(observation.experts, weights) for observation in observations])
    truths = np.array([list(weights.base_rate).index(observation.truth) for observation in observations])
    bounds = [(LEAST_BELIEF, MOST_BELIEF), (0, MOST_BELIEF), (0, MOST_BELIEF)]
    optimize: Any = scipy_optimize
    found = optimize.minimize(_loss, PRIOR_BELIEF, (features, truths), jac=True, method="L-BFGS-B", bounds=bounds)
    a, b, c = (round(float(belief), 4) for belief in found.x)
    users = len({observation.user_key for observation in observations})
    return weights.model_copy(update={"a": a, "b": b, "c": c, "users": users, "interactions": len(observations)})


def _features(experts: Experts, weights: AnswerWeights) -> _Array:
    """Return, for each answer, what a, b and c multiply: shape (answers, 3)."""
    answers = list(weights.base_rate)
    lm, prior, memory, leaning = (
        np.log([max(of[answer], _FLOOR) for answer in answers])
        for of in (experts.lm, experts.prior, experts.memory, weights.leaning)
    )
    return np.stack([lm - leaning, prior, memory - prior], axis=-1)


def _loss(beliefs: _Array, features: _Array, truths: NDArray[np.intp]) -> tuple[float, _Array]:
    """Return the shrunk log loss and its gradient."""
    logs = features @ beliefs
    logs -= logs.max(axis=1, keepdims=True)
    probabilities = np.exp(logs)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    rows = np.arange(len(truths))
    apart = beliefs - np.array(PRIOR_BELIEF)
    loss = -np.log(probabilities[rows, truths]).sum() + SHRINKAGE * (apart @ apart)
    expected = (probabilities[..., np.newaxis] * features).sum(axis=1)
    return float(loss), (expected - features[rows, truths]).sum(axis=0) + 2 * SHRINKAGE * apart


def _mean(distributions: Sequence[Distribution], answers: Sequence[str]) -> Distribution:
    return normalised(
        {answer: sum(distribution.get(answer, 0.0) for distribution in distributions) for answer in answers}
    )
