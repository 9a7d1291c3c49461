"""What one method has to do in an evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..data.answer_weights import AnswerWeights, Distribution
from ..data.change import ChangeKind
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
    weights: Mapping[str, AnswerWeights] = field(default_factory=dict[str, AnswerWeights])
    """Answer weights by user key, for a method that weighs its answers."""
    base_rates: Mapping[str, Distribution] = field(default_factory=dict[str, Distribution])
    """How often the other users give each answer, by user key; empty for a task that asks for text."""
    certified: frozenset[ChangeKind] = frozenset()
    """Kinds of change that a certificate lets go live at once."""
    concurrency: int = 1
    """Users answered at once."""
