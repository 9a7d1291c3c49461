"""Test-time alignment of a persona with a user's latest interactions (arXiv 2506.06254, Algorithm 1)."""

import logging
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import dspy
from dspy.teleprompt import Teleprompter

from ..data.alignment import Alignment, Iteration, TextualLoss
from ..data.errors import BudgetError, InputError
from ..data.interaction import Interaction
from ..programs import PersonaAgent
from ..programs.module import in_thread
from ..programs.scope import within
from ..programs.spend import measure
from .events import IterationEnded, Listener, LossMeasured, Simulated
from .revision import WholeRewrite
from .sampling import LatestInteractions, Sampling
from .simulation import Simulate
from .textual_loss import MeasureTextualLoss

_log = logging.getLogger(__name__)


class PersonaAlignment(Teleprompter):
    """Rewrites a program's persona from the textual loss between what it would have said and what the user did.

    The loop, `iterations` times:

    1. sample the latest `n` interactions;
    2. simulate each: the agent answers it again, seeing only what came before it;
    3. measure the textual loss of each response against the ground truth;
    4. revise the whole persona from all losses;
    5. accept the candidate (always; one that cannot be read leaves the persona as it was).

    Where a budget ends the calls, the result is the persona of the last finished round, and says so (`stopped`).

    Args:
        mode: `paper`, the algorithm as published. `served`, the same, but the answer that a user was given under the
            same persona version and by the same LM is its simulation: it was paid for then.
        n: Interactions in a batch.
        iterations: Rounds of the loop (E in the paper).
        sampling: Which interactions are simulated.
        loss_lm: The model of step 3; by default that of the context.
        revision_lm: The model of step 4; by default that of the context.
        listener: Is told of each step while the alignment runs.

    Raises:
        InputError: `n` or `iterations` is below 1.

    Example:
        >>> optimizer = PersonaAlignment(n=3)
        >>> with dspy.context(lm=open_lm("embedded")):
        ...     aligned = optimizer.compile(agent, trainset=examples(user.memory.history()))
        >>> aligned.persona.text, aligned.alignment.losses
    """

    def __init__(
        self,
        *,
        mode: Literal["paper", "served"] = "paper",
        n: int = 3,
        iterations: int = 1,
        sampling: Sampling | None = None,
        loss_lm: dspy.LM | None = None,
        revision_lm: dspy.LM | None = None,
        listener: Listener | None = None,
    ) -> None:
        super().__init__()
        if n < 1 or iterations < 1:
            raise InputError(f"n and iterations must be at least 1, not n={n}, iterations={iterations}")
        self.mode, self.n, self.iterations = mode, n, iterations
        self.sampling = sampling or LatestInteractions()
        self.loss_lm, self.revision_lm, self.listener = loss_lm, revision_lm, listener

    def compile(
        self,
        student: PersonaAgent,
        *,
        trainset: Sequence[dspy.Example],
        teacher: dspy.Module | None = None,
        valset: Sequence[dspy.Example] | None = None,
    ) -> PersonaAgent:
        """Return a copy of `student` that speaks under the aligned persona; the student is not changed.

        Args:
            student: The program, with the memory of its user.
            trainset: Past interactions as examples (see `examples`); those without a ground truth are passed over.
            teacher: Not used.
            valset: Not used: every candidate is accepted.

        Returns:
            The aligned program; `program.alignment` is the whole record.

        Raises:
            InputError: No example has a ground truth.
            LMError: The LM failed; nothing was changed.
        """
        self._check(valset)
        with measure() as meter:
            program, record = self._align(student, _interactions(trainset))
        return _finished(program, record.model_copy(update={"spend": meter.spend}))

    async def acompile(
        self,
        student: PersonaAgent,
        *,
        trainset: Sequence[dspy.Example],
        valset: Sequence[dspy.Example] | None = None,
    ) -> PersonaAgent:
        """Do what `compile` does, in a thread."""
        return await in_thread(self.compile, student, trainset=trainset, valset=valset)

    def get_params(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        names = ("mode", "n", "iterations", "sampling", "loss_lm", "revision_lm", "listener")
        return {name: getattr(self, name) for name in names}

    def _align(self, student: PersonaAgent, history: Sequence[Interaction]) -> tuple[PersonaAgent, Alignment]:
        program, started_at = student.deepcopy(), datetime.now(UTC)
        iterations: list[Iteration] = []
        stopped = None
        try:
            for number in range(1, self.iterations + 1):
                iteration = self._iterate(program, history, f"iteration {number}")
                if iteration.accepted and iteration.candidate is not None:
                    program.speak_under(iteration.candidate)
                iterations.append(iteration)
                self._tell(IterationEnded(number, iteration))
        except BudgetError as spent:
            stopped = str(spent)
        return program, self._record(student, len(history), iterations, started_at, stopped)

    def _iterate(self, program: PersonaAgent, history: Sequence[Interaction], round_: str) -> Iteration:
        batch = self.sampling.sample(history, self.n)
        responses = self._simulate(program, batch, round_)
        losses = self._measure(batch, responses, round_)
        return self._revise(program, losses, round_)

    def _simulate(self, program: PersonaAgent, batch: Sequence[Interaction], round_: str) -> list[str | None]:
        simulate = Simulate(reuse_served=self.mode == "served")
        responses: list[str | None] = []
        for interaction in batch:
            with within(*_place(round_, interaction)):
                responses.append(simulate(agent=program, interaction=interaction).response)
            self._tell(Simulated(interaction, responses[-1]))
        return responses

    def _measure(self, batch: Sequence[Interaction], responses: Sequence[str | None], round_: str) -> list[TextualLoss]:
        measure_loss = MeasureTextualLoss(self.loss_lm)
        losses: list[TextualLoss] = []
        for interaction, response in zip(batch, responses, strict=True):
            with within(*_place(round_, interaction)):
                loss: TextualLoss | None = measure_loss(interaction=interaction, response=response).loss
            if loss is not None:
                losses.append(loss)
                self._tell(LossMeasured(loss))
        return losses

    def _revise(self, program: PersonaAgent, losses: Sequence[TextualLoss], round_: str) -> Iteration:
        if not losses:
            return Iteration(losses=(), candidate=None, accepted=False, reason="no critique could be read")
        rewrite = WholeRewrite(self.revision_lm)
        with within(round_):
            revised = rewrite(persona=program.persona, losses=losses)
        accepted = revised.candidate is not None
        return Iteration(
            losses=tuple(losses),
            candidate=revised.candidate,
            accepted=accepted,
            reason=f"every rewrite is accepted ({self.mode})" if accepted else revised.reason,
        )

    def _record(
        self, student: PersonaAgent, seen: int, iterations: list[Iteration], started_at: datetime, stopped: str | None
    ) -> Alignment:
        return Alignment(
            alignment_id=uuid.uuid4().hex,
            settings={
                "mode": self.mode,
                "n": self.n,
                "iterations": self.iterations,
                "sampling": type(self.sampling).__name__,
                "history": seen,
                "agent": student.settings.model_dump(mode="json"),
            },
            base_version=student.persona_version,
            base=student.persona,
            iterations=tuple(iterations),
            started_at=started_at,
            stopped=stopped,
        )

    def _check(self, valset: Sequence[dspy.Example] | None) -> None:
        if valset:
            _log.warning("every candidate is accepted: the %d examples of valset are not used", len(valset))

    def _tell(self, event: Simulated | LossMeasured | IterationEnded) -> None:
        if self.listener is not None:
            self.listener(event)


def examples(history: Sequence[Interaction]) -> list[dspy.Example]:
    """Return interactions as a DSPy trainset: input `query`, label `ground_truth`."""
    return [
        dspy.Example(query=one.query, ground_truth=one.ground_truth, interaction=one).with_inputs("query")
        for one in history
    ]


def _place(round_: str, interaction: Interaction) -> tuple[str, str]:
    return round_, f"interaction {interaction.interaction_id}"


def _interactions(trainset: Sequence[dspy.Example]) -> list[Interaction]:
    try:
        return [example.interaction for example in trainset]
    except AttributeError as error:
        raise InputError(
            "an example of the trainset has no `interaction`: make them with `examples(history)`"
        ) from error


def _finished(program: PersonaAgent, alignment: Alignment) -> PersonaAgent:
    program.alignment = alignment
    program._compiled = True
    return program
