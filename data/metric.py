"""Metrics of one's own: any that DSPy takes, by the name of a Python function."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, cast

from pydantic import ImportString, TypeAdapter, ValidationError

from .errors import InputError
from .interaction import Interaction

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
    """Import a metric.

    Args:
        name: `package.module:function`.

    Raises:
        InputError: There is no such function.

    Example:
        >>> metric_named("my_metrics:starts_alike")(example, prediction)
        1.0
    """
    try:
        metric: Any = TypeAdapter[Any](ImportString).validate_python(name)
    except ValidationError as error:
        raise InputError(
            f"metric {name!r}: {error.errors()[0]['msg']}: give it as MODULE:FUNCTION, of a module that Python finds "
            "(PYTHONPATH=. for one in this folder)"
        ) from error
    if not callable(metric) or not hasattr(metric, "__name__"):
        raise InputError(f"metric {name!r} is no function")
    return cast("OwnMetric", metric)


def scored_by(data: "LampData", metric: OwnMetric) -> "LampData":
    """Return the same data, whose answers a metric of one's own scores.

    Example:
        >>> await evaluate([RagMethod()], scored_by(data, starts_alike))
    """
    return replace(data, task=data.task.model_copy(update={"metric": metric.__name__}), metric=metric)


def score_of(metric: OwnMetric, question: Interaction, answer: str) -> float:
    """Return what a metric makes of an answer.

    Raises:
        InputError: It is no number, or less than 0.
    """
    import dspy

    example = dspy.Example(query=question.query, ground_truth=question.ground_truth).with_inputs("query")
    score = float(metric(example, dspy.Prediction(response=answer)))
    if not 0 <= score < math.inf:
        raise InputError(f"metric {metric.__name__} says {score}: a score must be a number, 0 or more")
    return score
