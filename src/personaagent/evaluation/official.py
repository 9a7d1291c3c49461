"""The official LaMP scorer's rules, exactly, as a policy.

Source: LaMP-Benchmark/LaMP, eval/evaluation.py at 021b8607, re-implemented. Every question counts: a wrong form is a
wrong answer, not a missing one. Averages are over questions, not users.

Two things cannot be the same: the official ROUGE is the median of a bootstrap over questions, whose last digit moves
between runs (ours is the mean that it estimates); and where a rating `nan` or `inf` stops the official program, the
average here is `nan` or `inf`.
"""

import math
from collections.abc import Sequence

from ..data.errors import InputError
from ..data.task import Task
from .rouge import rouge

NAME = "LaMP official (LaMP-Benchmark/LaMP eval/evaluation.py at 021b8607)"

Metrics = dict[str, float]
"""Metric by name. `accuracy`, `macro_f1`, `rouge1` and `rougeL` are scores, 0 to 1; `mae` and `rmse` are errors."""


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
    if len(predictions) != len(golds):
        raise InputError(f"{len(predictions)} predictions for {len(golds)} golds: give one for each")
    if not golds:
        return {}
    if task.kind == "label":
        return _label_metrics(predictions, golds, task.labels)
    if task.kind == "rating":
        return _rating_metrics(predictions, golds)
    return _text_metrics(predictions, golds)


def _label_metrics(predictions: Sequence[str | None], golds: Sequence[str], labels: Sequence[str]) -> Metrics:
    """Score labels: case and punctuation count, and all that is no label is one and the same wrong label.

    A gold that is no label is that wrong label too, so that an unknown answer to it counts for accuracy.
    """
    indices = {label: index for index, label in enumerate(labels)}
    pairs = [
        (indices.get(str(prediction).strip(), -1), indices.get(gold.strip(), -1))
        for prediction, gold in zip(predictions, golds, strict=True)
    ]
    return {
        "accuracy": sum(predicted == gold for predicted, gold in pairs) / len(pairs),
        "macro_f1": sum(_f1(pairs, label) for label in range(len(labels))) / len(labels),
    }


def _f1(pairs: Sequence[tuple[int, int]], label: int) -> float:
    """Return the F1 of one label, 0 if it is in neither predictions nor golds."""
    right = sum(predicted == gold == label for predicted, gold in pairs)
    said_or_true = sum((predicted == label) + (gold == label) for predicted, gold in pairs)
    return 2 * right / said_or_true if said_or_true else 0.0


def _rating_metrics(predictions: Sequence[str | None], golds: Sequence[str]) -> Metrics:
    errors = [
        _as_number(prediction, gold) - _gold_number(gold) for prediction, gold in zip(predictions, golds, strict=True)
    ]
    return {
        "mae": sum(abs(error) for error in errors) / len(errors),
        "rmse": math.sqrt(sum(error * error for error in errors) / len(errors)),
    }


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


def _text_metrics(predictions: Sequence[str | None], golds: Sequence[str]) -> Metrics:
    scores = [rouge(prediction or "", gold) for prediction, gold in zip(predictions, golds, strict=True)]
    return {
        "rouge1": sum(score.rouge1 for score in scores) / len(scores),
        "rougeL": sum(score.rouge_l for score in scores) / len(scores),
    }
