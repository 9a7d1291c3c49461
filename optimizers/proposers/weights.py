"""Weights: the user's habits and memory count beside what the LM says."""

from collections.abc import Sequence

from ...data.answer_weights import AnswerWeights
from ...data.change import Change
from ...data.task import Task
from .proposing import Case


class ProposeWeights:
    """Proposes the answer weights that were fitted for this LM, task and prompt form.

    They hold nothing of the user: prior and votes are read from memory when a question comes. So they have no causes.

    Args:
        weights: Of a certificate, or fitted over the users of a store.
    """

    def __init__(self, weights: AnswerWeights) -> None:
        self.weights = weights

    simulates = False

    def applies(self, task: Task) -> bool:
        """Whether the weights are those of the task."""
        return self.weights.task == task.name

    def propose(self, case: Case) -> Sequence[Change]:
        """Return the weights, if they suit the task and the persona has none of this LM and form."""
        live = case.persona.weights
        if not self.applies(case.task) or (live is not None and _purpose(live) == _purpose(self.weights)):
            return ()
        return (Change(kind="weights", action="weights", weights=self.weights),)


def _purpose(weights: AnswerWeights) -> tuple[str, str, str]:
    return weights.lm, weights.task, weights.form
