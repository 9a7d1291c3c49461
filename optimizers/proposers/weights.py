"""Weights: the user's habits and memory count beside what the LM says."""

from collections.abc import Sequence

from ...data.answer_weights import AnswerWeights, uniform
from ...data.change import Change
from ...data.task import Task
from ...programs.module import model_here
from ..calibration import PRIOR_BELIEF, leaning_of
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


class ProposeUnfittedWeights:
    """Proposes answer weights of the user's own task, for which nothing was fitted yet.

    LM and habits count alike, whatever the ground truths say (`PRIOR_BELIEF`); the LM's leaning is that of its answers
    to the batch.

    Args:
        form: What the prompt holds, by name; see `AgentSettings.form`.
    """

    simulates = True

    def __init__(self, form: str) -> None:
        self._form = form

    def applies(self, task: Task) -> bool:
        """Whether the answers are labels or ratings that say something of the user."""
        return task.kind != "text" and not task.positional

    def propose(self, case: Case) -> Sequence[Change]:
        """Return the weights, if the LM said how probable its answers are."""
        said = [seen.lm_probabilities for seen in case.seen if seen.lm_probabilities]
        if not said or not self.applies(case.task):
            return ()
        a, b, c = PRIOR_BELIEF
        weights = AnswerWeights(
            lm=model_here(),
            task=case.task.name,
            form=self._form,
            leaning=leaning_of(said, case.task.labels),
            base_rate=uniform(case.task.labels),
            a=a,
            b=b,
            c=c,
        )
        return (Change(kind="weights", action="weights", weights=weights),)


def _purpose(weights: AnswerWeights) -> tuple[str, str, str]:
    return weights.lm, weights.task, weights.form
