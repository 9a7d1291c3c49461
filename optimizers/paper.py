"""Algorithm 1 of the paper (arXiv 2506.06254): simulate, measure the textual loss, rewrite the persona, accept."""

from collections.abc import Callable, Sequence

import dspy

from ..data.alignment import Iteration, TextualLoss
from ..data.errors import BudgetError
from ..data.interaction import Interaction
from ..programs import PersonaAgent
from ..programs.scope import within
from .events import AlignmentEvent, IterationEnded, LossMeasured, Simulated
from .simulation import Simulate, latest
from .textual_loss import MeasureTextualLoss, WholeRewrite


class PaperMode:
    """The algorithm as published; every rewrite is accepted.

    Args:
        n: Interactions in a batch.
        iterations: Rounds of the loop.
        loss_lm: The model that criticises; by default that of the context.
        revision_lm: The model that rewrites; by default that of the context.
        tell: Is told of each step.
    """

    def __init__(
        self,
        n: int,
        iterations: int,
        loss_lm: dspy.LM | None,
        revision_lm: dspy.LM | None,
        tell: Callable[[AlignmentEvent], None],
    ) -> None:
        self.n, self.iterations, self._tell = n, iterations, tell
        self._simulate, self._measure_loss = Simulate(), MeasureTextualLoss(loss_lm)
        self._rewrite = WholeRewrite(revision_lm)

    def align(self, program: PersonaAgent, history: Sequence[Interaction]) -> tuple[list[Iteration], str | None]:
        """Let `program` speak under what the rounds make of its persona.

        Returns:
            The rounds, and why there are no more, if a budget ended them.
        """
        iterations: list[Iteration] = []
        try:
            for number in range(1, self.iterations + 1):
                iteration = self._iterate(program, history, f"iteration {number}")
                if iteration.accepted and iteration.candidate is not None:
                    program.speak_under(iteration.candidate)
                iterations.append(iteration)
                self._tell(IterationEnded(number, iteration))
        except BudgetError as spent:
            return iterations, str(spent)
        return iterations, None

    def _iterate(self, program: PersonaAgent, history: Sequence[Interaction], round_: str) -> Iteration:
        batch = latest(history, self.n)
        responses = self._simulated(program, batch, round_)
        losses = self._measured(batch, responses, round_)
        return self._revised(program, losses, round_)

    def _simulated(self, program: PersonaAgent, batch: Sequence[Interaction], round_: str) -> list[str | None]:
        responses: list[str | None] = []
        for interaction in batch:
            with within(*place_of(round_, interaction)):
                responses.append(self._simulate(agent=program, interaction=interaction).response)
            self._tell(Simulated(interaction, responses[-1]))
        return responses

    def _measured(
        self, batch: Sequence[Interaction], responses: Sequence[str | None], round_: str
    ) -> list[TextualLoss]:
        losses: list[TextualLoss] = []
        for interaction, response in zip(batch, responses, strict=True):
            with within(*place_of(round_, interaction)):
                loss: TextualLoss | None = self._measure_loss(interaction=interaction, response=response).loss
            if loss is not None:
                losses.append(loss)
                self._tell(LossMeasured(loss))
        return losses

    def _revised(self, program: PersonaAgent, losses: Sequence[TextualLoss], round_: str) -> Iteration:
        if not losses:
            return Iteration(losses=(), candidate=None, accepted=False, reason="no critique could be read")
        with within(round_):
            revised = self._rewrite(persona=program.persona, losses=losses)
        accepted = revised.candidate is not None
        return Iteration(
            losses=tuple(losses),
            candidate=revised.candidate,
            accepted=accepted,
            reason="every rewrite is accepted (paper)" if accepted else revised.reason,
        )


def place_of(round_: str, interaction: Interaction) -> tuple[str, str]:
    """Return where in the work an interaction is simulated."""
    return round_, f"interaction {interaction.interaction_id}"
