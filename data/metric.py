"""Metrics of one's own: any that DSPy takes, by the name of a Python function."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, cast

from .errors import InputError
from .interaction import Interaction
from .own import own

if TYPE_CHECKING:
    import dspy

    from .lamp import LampData


class OwnMetric(Protocol):
    """Scores an answer: the more the better, 0 for a worthless one. It must be a function with a name."""

    __name__: str

    def __call__(self, example: "dspy.Example", prediction: "dspy.Prediction", /) -> float:
        """Return the score.

        Args:
            example: Has `query` and `ground_truth`.
            prediction: Has `response`, in the form of the task.
        """
        ...


def metric_named(name: str) -> OwnMetric:
    """Import a metric."""
    metric = own("metric", name)
    if not hasattr(metric, "__name__"):
        raise InputError(f"metric {name!r} is no function, but {type(metric).__name__}")
    return cast("OwnMetric", metric)


def scored_by(data: "LampData", metric: OwnMetric) -> "LampData":
    """Return the same data, whose answers a metric of one's own scores.

    The metric is tried once, on a question of the data and its ground truth as the answer.

    Raises:
        InputError: The metric fails there.
    """
    tried = next((question for question in data.questions if question.ground_truth is not None), None)
    if tried is not None:
        _try(metric, tried)
    return replace(data, task=data.task.model_copy(update={"metric": metric.__name__}), metric=metric)


def _try(metric: OwnMetric, question: Interaction) -> None:
    truth = question.ground_truth or ""
    try:
        score_of(metric, question, truth)
    except Exception as error:
        said = str(error) if isinstance(error, InputError) else f"it raises {type(error).__name__}: {error}"
        raise InputError(
            f"metric {metric.__module__}:{metric.__name__} fails where the response is the ground truth "
            f"({truth[:40]!r}): {said}; it is called with (example, prediction) and returns a number"
        ) from error


def score_of(metric: OwnMetric, question: Interaction, answer: str) -> float:
    """Return what a metric makes of an answer."""
    import dspy

    example = dspy.Example(query=question.query, ground_truth=question.ground_truth).with_inputs("query")
    said: Any = metric(example, dspy.Prediction(response=answer))
    try:
        score = float(said)
    except (TypeError, ValueError):
        score = math.nan
    if not 0 <= score < math.inf:
        raise InputError(f"metric {metric.__name__} returns {said!r}: a score must be a number, 0 or more")
    return score
