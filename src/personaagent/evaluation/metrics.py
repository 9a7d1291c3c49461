"""The metrics of an evaluation: LaMP's official ones, a metric of one's own, and how good probabilities are.

Every metric is a function of totals over questions: what a user, a method or a resample of users achieved is the sum of
what its questions add, and the metrics of any such sum follow from it. No answer counts as the worst one.

The official rules are those of LaMP-Benchmark/LaMP, eval/evaluation.py at 021b8607, re-implemented exactly. Every
question counts: a wrong form is a wrong answer, not a missing one. Averages are over questions, not users. Two things
cannot be the same: the official ROUGE is the median of a bootstrap over questions, whose last digit moves between runs
(ours is the mean that it estimates); and where a rating `nan` or `inf` stops the official program, the average here is
`nan` or `inf`.
"""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..data.errors import InputError
from ..data.task import Task, compared, is_of_lamp
from .record import Row

Array = NDArray[np.float64]

Metrics = dict[str, float]
"""Metric by name. `accuracy`, `macro_f1`, `rouge1` and `rougeL` are scores, 0 to 1; `mae` and `rmse` are errors."""

LOG_LOSS = "log_loss"
"""The mean of -log p(gold), with p at least `LEAST_PROBABILITY`: 0 to 6.9."""
CALIBRATION_ERROR = "calibration_error"
"""How far the confidence in the most probable answer is from how often it is right, 0 to 1: the mean over `BINS` bins
of equal width, weighted by their questions (Guo et al., On Calibration of Modern Neural Networks, arXiv 1706.04599)."""
LEAST_PROBABILITY = 1e-3
"""A gold that was called impossible does not make the mean infinite."""
BINS = 10

ERRORS = frozenset({"mae", "rmse", LOG_LOSS, CALIBRATION_ERROR})
"""Metrics of which less is better."""

_CALIBRATION_COLUMNS = 1 + 3 * BINS
"""Totals: the log loss; then by bin its questions, their confidence, and how many of them are right."""


def official_metrics(task: Task, predictions: Sequence[str | None], golds: Sequence[str]) -> Metrics:
    """Score predictions by the official rules: accuracy and macro-F1 of labels, MAE and RMSE of ratings, ROUGE of text.

    Args:
        task: Decides the metrics.
        predictions: Answers as they were given. None (no answer) counts as any other text that is no label or number;
            for text it counts as empty, where the official program stops.
        golds: In the order of the predictions; without any there are no metrics.

    Raises:
        InputError: The lengths differ, or the gold of a rating is no number.

    Example:
        >>> official_metrics(task_named("LaMP-3"), ["4", "five"], ["5", "2"])
        {'mae': 2.0, 'rmse': 2.23606797749979}
    """
    totals = official_totals(task, predictions, golds)
    return _floats(_official(task, totals)) if golds else {}


def metrics(task: Task, rows: Sequence[Row]) -> Metrics:
    """Return the metrics of rows; empty if there are none."""
    if not rows:
        return {}
    with_probabilities = have_probabilities(rows)
    totals = totals_of(task, rows, with_probabilities=with_probabilities)
    return _floats(metrics_of(task, totals, with_probabilities=with_probabilities))


def scorer(task: Task) -> str:
    """Name what scores the rows of a task."""
    if task.metric:
        return f"own metric: {task.metric}"
    if task.kind == "text" and not is_of_lamp(task):
        return "ROUGE of words in any script; where a script has no spaces, a letter is a word"
    return "LaMP official (LaMP-Benchmark/LaMP eval/evaluation.py at 021b8607)"


def have_probabilities(rows: Sequence[Row]) -> bool:
    """Whether every scored row has probabilities, and not all of them are those of an answer alone (1 and 0)."""
    distributions = [row.probabilities for row in rows if row.status == "scored"]
    return all(distributions) and any(max(of.values()) < 1 for of in distributions if of)


def totals_of(task: Task, rows: Sequence[Row], *, with_probabilities: bool) -> Array:
    """Add up what rows achieved: their number, what `metrics_of` needs, perhaps what log loss and calibration need."""
    if task.metric:
        answers = np.array([len(rows), sum(row.score or 0.0 for row in rows)], dtype=np.float64)
    else:
        answers = official_totals(task, [row.prediction for row in rows], [row.gold or "" for row in rows])
    return np.concatenate([answers, _calibration_totals(task, rows)]) if with_probabilities else answers


def metrics_of(task: Task, totals: Array, *, with_probabilities: bool = False) -> dict[str, Array]:
    """Return the metrics of totals, or of sums of totals, each in the shape of `totals` without its last axis."""
    if with_probabilities:
        answers, probabilities = np.split(totals, [-_CALIBRATION_COLUMNS], axis=-1)
        return {**metrics_of(task, answers), **_calibration(probabilities)}
    return {task.metric: totals[..., 1] / totals[..., 0]} if task.metric else _official(task, totals)


def official_totals(task: Task, predictions: Sequence[str | None], golds: Sequence[str]) -> Array:
    """Add up what the official rules make of each question; arguments and errors as for `official_metrics`.

    Returns:
        The number of questions; then for labels: right answers, right answers by label, and by label how often it was
        predicted plus how often it was the gold; for ratings: absolute and squared errors; for text: ROUGE-1 and
        ROUGE-L.
    """
    if len(predictions) != len(golds):
        raise InputError(f"{len(predictions)} predictions for {len(golds)} golds: give one for each")
    if task.kind == "label":
        return _label_totals(predictions, golds, task.labels)
    of_question = _rating_totals if task.kind == "rating" else partial(_text_totals, task)
    each = [(1.0, *of_question(prediction, gold)) for prediction, gold in zip(predictions, golds, strict=True)]
    with np.errstate(over="ignore"):
        return np.array(each).reshape(-1, 3).sum(axis=0)


def _official(task: Task, totals: Array) -> dict[str, Array]:
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
    """Take any number as it is, neither rounded nor clipped; else whichever of 1 and 5 is farther from the gold."""
    try:
        truth = float(gold)
    except ValueError:
        raise InputError(f"the gold {gold[:80]!r} of a rating is no number") from None
    try:
        rating = float(str(prediction).strip())
    except ValueError:
        rating = 1.0 if abs(1 - truth) > abs(5 - truth) else 5.0
    error = rating - truth
    return abs(error), error * error


def _text_totals(task: Task, prediction: str | None, gold: str) -> tuple[float, float]:
    score = compared(task, prediction or "", gold)
    return score.rouge1, score.rouge_l


def _calibration_totals(task: Task, rows: Sequence[Row]) -> Array:
    totals = np.zeros(_CALIBRATION_COLUMNS)
    bins = totals[1:].reshape(3, BINS)
    for row in rows:
        gold = task.parse(row.gold or "") or (row.gold or "").strip()
        probabilities = row.probabilities or {"": 1.0}
        answer = max(probabilities, key=probabilities.__getitem__)
        confidence = probabilities[answer]
        totals[0] -= math.log(max(probabilities.get(gold, 0.0), LEAST_PROBABILITY))
        bins[:, min(int(confidence * BINS), BINS - 1)] += (1, confidence, answer == gold)
    return totals


def _calibration(totals: Array) -> dict[str, Array]:
    questions, confidence, right = np.split(totals[..., 1:], 3, axis=-1)
    asked = questions.sum(axis=-1)
    return {
        LOG_LOSS: totals[..., 0] / asked,
        CALIBRATION_ERROR: np.abs(confidence - right).sum(axis=-1) / asked,
    }


def finite(value: float | None) -> float | None:
    """Return a number that JSON can hold: None for `nan` and `inf`."""
    return value if value is not None and math.isfinite(value) else None


def _floats(arrays: dict[str, Array]) -> Metrics:
    return {name: float(value) for name, value in arrays.items()}
