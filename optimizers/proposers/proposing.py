"""What proposers see, and what they return."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ...data.answer_weights import Distribution
from ...data.change import Change
from ...data.interaction import Interaction
from ...data.persona import Persona
from ...data.task import Task


class Seen(NamedTuple):
    """An interaction, and what the agent said to it."""

    interaction: Interaction
    response: str | None
    """None if the answer was not in the form of the task."""
    lm_probabilities: Distribution | None


class Case(NamedTuple):
    """One user, as far as a proposer may know: nothing of the interactions by which a change will be scored."""

    task: Task
    persona: Persona
    history: Sequence[Interaction]
    """The user's interactions of the task with a ground truth, oldest first, without the batch."""
    seen: Sequence[Seen]
    """Those that the agent answered, oldest first: simulated or served."""


class Proposer(Protocol):
    """Proposes changes of one kind; the same case gives the same changes."""

    @property
    def simulates(self) -> bool:
        """Whether it learns from simulated answers; if not, it is content with those that were served."""
        ...

    def applies(self, task: Task) -> bool:
        """Return whether there may be something to propose for a task."""
        ...

    def propose(self, case: Case) -> Sequence[Change]:
        """Return changes, each with the interactions that caused it. None that the persona already has."""
        ...
