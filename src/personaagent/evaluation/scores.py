"""What rows come to: by the metric of one's own that the task names, else by the official rules for its kind."""

from collections.abc import Sequence

import numpy as np

from ..data.task import Task
from . import official
from .official import Array, Metrics
from .rows import Row


def totals_of(task: Task, rows: Sequence[Row]) -> Array:
    """Add up what rows achieved: their number first, then what `metrics_of` needs.

    By either kind of metric, no answer is as bad as the worst one.
    """
    if task.metric:
        return np.array([len(rows), sum(row.score or 0.0 for row in rows)], dtype=np.float64)
    return official.official_totals(task, [row.prediction for row in rows], [row.gold for row in rows])


def metrics_of(task: Task, totals: Array) -> dict[str, Array]:
    """Return the metrics that totals, or sums of several, come to, in the shape of `totals` without its last axis."""
    if task.metric:
        return {task.metric: totals[..., 1] / totals[..., 0]}
    return official.metrics_of(task, totals)


def metrics(task: Task, rows: Sequence[Row]) -> Metrics:
    """Return the metrics of rows; none of no rows."""
    if not rows:
        return {}
    return {name: float(value) for name, value in metrics_of(task, totals_of(task, rows)).items()}


def scorer(task: Task) -> str:
    """Return by what the rows of a task are scored."""
    return f"own metric: {task.metric}" if task.metric else official.NAME
