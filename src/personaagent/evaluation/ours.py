"""Our policy: an answer is read leniently before it is scored, and what could not be scored is counted, never averaged.

A label may differ in case, quotes and a final full stop, a rating may be written `4.0` (`Task.parse`). Failed and
unparsed questions have columns of their own; the means are over the scored rows only, and say so by `scored`.
"""

from collections.abc import Sequence

from ..data.task import Task
from .official import Metrics
from .rows import Row
from .scores import metrics
from .totals import scored

NAME = "scored rows only, answers parsed leniently"


def metrics_over_scored(task: Task, rows: Sequence[Row]) -> Metrics:
    """Return the task's metrics over the rows that were scored; none if no row was."""
    return metrics(task, scored(rows))
