"""What one method has to do in an evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..data.lamp import LampUser
from ..data.own_metric import OwnMetric
from ..data.task import Task
from .methods import Method


@dataclass(frozen=True)
class MethodWork:
    """Users whose questions a method is to answer."""

    method: Method
    task: Task
    users: Sequence[LampUser]
    online: bool = False
    """Whether each answered question joins its user's history before the next one is asked."""
    metric: OwnMetric | None = None
    """Scores answers; None leaves that to the metrics of the task's kind."""
    concurrency: int = 1
    """How much is done at once."""
