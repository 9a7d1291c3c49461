"""The official LaMP scorer's rules, exactly, as a policy.

Source: LaMP-Benchmark/LaMP, eval/evaluation.py at 021b8607, re-implemented. Every question counts: a wrong form is a
wrong answer, not a missing one. Averages are over questions, not users.

Every metric is a function of totals over questions: what a user, a method or a resample of users achieved is the sum of
what its questions add, and the metrics of any such sum follow from it.

Two things cannot be the same: the official ROUGE is the median of a bootstrap over questions, whose last digit moves
between runs (ours is the mean that it estimates); and where a rating `nan` or `inf` stops the official program, the
average here is `nan` or `inf`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..data.errors import InputError
from ..data.task import Task
from ..data.texts import rouge

NAME = "LaMP official (LaMP-Benchmark/LaMP eval/evaluation.py at 021b8607)"

Array = NDArray[np.float64]

Metrics = dict[str, float]
"""Metric by name. `accuracy`, `macro_f1`, `rouge1` and `rougeL` are scores, 0 to 1; `mae` and `rmse` are errors."""

ERRORS = frozenset({"mae", "rmse"})
"""Official metrics of which less is better."""


def official_metrics(task: Task, predictions: Sequence[str | None], golds: Sequence[str]) -> Metrics:
    """Score predictions by the official rules.

    Args:
        task: Decides the metrics: accuracy and macro-F1 of labels, MAE and RMSE of ratings, ROUGE of text.
        predictions: What was answered, as it was answered. None (no answer) counts as any other text that is no label
            or number; for text it counts as empty, where the official program stops.
        golds: The golds, in the order of the predictions.

    Returns:
        The metrics of the task's kind; none if there is nothing to score.

    Raises:
        InputError: The lengths differ, or the gold of a rating is no number.

    Example:
        >>> official_metrics(task_named("LaMP-3"), ["4", "five"], ["5", "2"])
        {'mae': 2.0, 'rmse': 2.23606797749979}
    """
    totals = official_totals(task, predictions, golds)
    if not golds:
        return {}
    return {name: float(value) for name, value in metrics_of(task, totals).items()}


def official_totals(task: Task, predictions: Sequence[str | None], golds: Sequence[str]) -> Array:
    """Add up what the official rules make of each question.

    Args:
        task: Decides what is added up.
        predictions: As for `official_metrics`.
        golds: The golds, in the order of the predictions.

    Returns:
        The totals, in this order. The number of questions, always first; then for labels: right answers, right answers
        by label, and by label how often it was predicted plus how often it was the gold; for ratings: absolute and
        squared errors; for text: ROUGE-1 and ROUGE-L.

    Raises:
        InputError: The lengths differ, or the gold of a rating is no number.
    """
    if len(predictions) != len(golds):
        raise InputError(f"{len(predictions)} predictions for {len(golds)} golds: give one for each")
    if task.kind == "label":
        return _label_totals(predictions, golds, task.labels)
    of_question = _rating_totals if task.kind == "rating" else _text_totals
    each = [(1.0, *of_question(prediction, gold)) for prediction, gold in zip(predictions, golds, strict=True)]
    with np.errstate(over="ignore"):
        return np.array(each).reshape(-1, 3).sum(axis=0)


def metrics_of(task: Task, totals: Array) -> dict[str, Array]:
    """Return the metrics that totals come to.

    Args:
        task: The task of the questions.
        totals: Totals along the last axis, as `official_totals` orders them, or sums of several; of at least one
            question each.

    Returns:
        Each metric by name, in the shape of `totals` without its last axis.
    """
    questions = totals[..., 0]
    if task.kind == "text":
        return {"rouge1": totals[..., 1] / questions, "rougeL": totals[..., 2] / questions}
    if task.kind == "rating":
        return {"mae": totals[..., 1] / questions, "rmse": np.sqrt(totals[..., 2] / questions)}
    right, said_or_true = np.split(totals[..., 2:], 2, axis=-1)
    f1 = np.divide(2 * right, said_or_true, out=np.zeros_like(right), where=said_or_true > 0)
    return {"accuracy": totals[..., 1] / questions, "macro_f1": f1.mean(axis=-1)}


def _label_totals(predictions: Sequence[str | None], golds: Sequence[str], labels: Sequence[str]) -> Array:
    """Count labels: case and punctuation matter, and all that is no label is one and the same wrong label.

    A gold that is no label is that wrong label too, so that an unknown answer to it counts for accuracy.
    """
    indices = {label: index for index, label in enumerate(labels)}
    other = len(labels)
    predicted = np.array([indices.get(str(prediction).strip(), other) for prediction in predictions], dtype=np.intp)
    true = np.array([indices.get(gold.strip(), other) for gold in golds], dtype=np.intp)
    right = predicted == true
    said, gold, both = (np.bincount(of, minlength=other + 1)[:other] for of in (predicted, true, true[right]))
    return np.concatenate([[len(golds), right.sum()], both, said + gold]).astype(np.float64)


def _rating_totals(prediction: str | None, gold: str) -> tuple[float, float]:
    error = _as_number(prediction, gold) - _gold_number(gold)
    return abs(error), error * error


def _as_number(prediction: str | None, gold: str) -> float:
    """Return any number as it is, neither rounded nor clipped; else whichever of 1 and 5 is farther from the gold."""
    try:
        return float(str(prediction).strip())
    except ValueError:
        truth = _gold_number(gold)
        return 1.0 if abs(1 - truth) > abs(5 - truth) else 5.0


def _gold_number(gold: str) -> float:
    try:
        return float(gold)
    except ValueError:
        raise InputError(f"the gold {gold[:80]!r} of a rating is no number") from None


def _text_totals(prediction: str | None, gold: str) -> tuple[float, float]:
    score = rouge(prediction or "", gold)
    return score.rouge1, score.rouge_l
