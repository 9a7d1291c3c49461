"""What rows come to: by the metric of one's own that the task names, else by the official rules for its kind.

Where a method says how probable each answer is, log loss and calibration error stand beside that; see `calibration`.
"""

from collections.abc import Sequence

import numpy as np

from ..data.task import Task
from . import official
from .calibration import (
    CALIBRATION_ERROR,
    COLUMNS,
    LOG_LOSS,
    calibration_metrics,
    calibration_totals,
    have_probabilities,
)
from .official import Array, Metrics
from .rows import Row

ERRORS = official.ERRORS | {LOG_LOSS, CALIBRATION_ERROR}
"""Metrics of which less is better."""


def totals_of(task: Task, rows: Sequence[Row], *, with_probabilities: bool) -> Array:
    """Add up what rows achieved: their number first, then what `metrics_of` needs.

    By every metric, no answer is as bad as the worst one.

    Args:
        task: The task of the rows.
        rows: Any of them.
        with_probabilities: Whether to add what `calibration_metrics` needs.
    """
    if task.metric:
        answers = np.array([len(rows), sum(row.score or 0.0 for row in rows)], dtype=np.float64)
    else:
        answers = official.official_totals(task, [row.prediction for row in rows], [row.gold for row in rows])
    return np.concatenate([answers, calibration_totals(task, rows)]) if with_probabilities else answers


def metrics_of(task: Task, totals: Array, *, with_probabilities: bool) -> dict[str, Array]:
    """Return the metrics that totals, or sums of several, come to, in the shape of `totals` without its last axis."""
    if with_probabilities:
        answers, probabilities = totals[..., :-COLUMNS], totals[..., -COLUMNS:]
        return {**metrics_of(task, answers, with_probabilities=False), **calibration_metrics(probabilities)}
    if task.metric:
        return {task.metric: totals[..., 1] / totals[..., 0]}
    return official.metrics_of(task, totals)


def metrics(task: Task, rows: Sequence[Row]) -> Metrics:
    """Return the metrics of rows; none of no rows."""
    if not rows:
        return {}
    with_probabilities = have_probabilities(rows)
    totals = totals_of(task, rows, with_probabilities=with_probabilities)
    return {
        name: float(value) for name, value in metrics_of(task, totals, with_probabilities=with_probabilities).items()
    }


def scorer(task: Task) -> str:
    """Return by what the rows of a task are scored."""
    return f"own metric: {task.metric}" if task.metric else official.NAME
