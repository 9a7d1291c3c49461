"""Test-time alignment of a persona with a user's interactions (arXiv 2506.06254)."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

import dspy
from dspy.teleprompt import Teleprompter

from ..data.alignment import Alignment, Iteration
from ..data.call import as_written
from ..data.errors import BudgetError, InputError
from ..data.interaction import Interaction, normalised
from ..programs import PersonaAgent
from ..programs.module import in_thread, model_here
from ..programs.scope import measure, within
from .events import AlignmentEvent, IterationEnded, Listener
from .evidence import EvidenceMode, EvidenceRound, Metric, default_proposers
from .paper import PaperMode
from .simulation import latest, teaches, was_served


class PersonaAlignment(Teleprompter):
    """Changes a program's persona so that its answers are what the user really did.

    In evidence mode, the default:

    1. propose small changes, each with its causes: answer weights, or a line;
    2. simulate the latest `n` interactions, as far as a proposal or a score needs it: the agent answers again, seeing
       only what came before; answers that it served under the same version are simulations already;
    3. score each change on interactions later than its causes, with the change and without it;
    4. accept what has proved itself, or is of a certified kind; the rest waits in the shadow;
    5. watch what is live, and retire what harms.

    In paper mode (Algorithm 1): simulate, criticise each response (the textual loss), rewrite the whole persona, always
    accept; `iterations` times.

    Where a budget ends the calls, nothing undecided is changed, and the result says so (`stopped`).

    Args:
        mode: `evidence`, `paper`, or an `EvidenceMode` of one's own.
        metric: Scores an answer from 0 to 1, as for `dspy.Evaluate`; by default the probability of the ground truth.
        n: Interactions in a batch.
        iterations: Paper only: rounds of the loop (E in the paper).
        loss_lm: The model that criticises; by default that of the context.
        revision_lm: The model that rewrites; by default that of the context.
        listener: Is told of each step while the alignment runs.

    Raises:
        InputError: `n` or `iterations` is below 1, or paper mode has a metric.

    Example:
        >>> optimizer = PersonaAlignment(n=3)
        >>> with dspy.context(lm=open_lm("embedded")):
        ...     aligned = optimizer.compile(agent, trainset=examples(user.memory.history()))
        >>> aligned.persona.text, aligned.alignment.decisions
    """

    def __init__(
        self,
        *,
        mode: Literal["evidence", "paper"] | EvidenceMode = "evidence",
        metric: Metric | None = None,
        n: int = 3,
        iterations: int = 1,
        loss_lm: dspy.LM | None = None,
        revision_lm: dspy.LM | None = None,
        listener: Listener | None = None,
    ) -> None:
        super().__init__()
        if n < 1 or iterations < 1:
            raise InputError(f"n and iterations must be at least 1, not n={n}, iterations={iterations}")
        if mode == "paper" and metric is not None:
            raise InputError("paper mode accepts every rewrite: leave the metric out, or take mode='evidence'")
        self.mode, self.metric, self.n, self.iterations = mode, metric, n, iterations
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
            trainset: Past interactions with `query` and `ground_truth`; those without a ground truth are passed over.
            teacher: Not used.
            valset: Further interactions by which changes are scored and from which none is made. Not in paper mode.

        Returns:
            The aligned program; `program.alignment` is the whole record.

        Raises:
            InputError: No example has a ground truth, or paper mode has a valset.
            LMError: The LM failed; nothing was changed.
        """
        program, started_at = student.deepcopy(), datetime.now(UTC)
        history, held_out = _interactions(trainset, student), _interactions(valset or (), student)
        with within(user_key=student.memory.user_key), measure() as meter:
            learn = self._by_paper if self.mode == "paper" else self._by_evidence
            found = learn(program, history, held_out)
        program.alignment = Alignment(
            alignment_id=uuid.uuid4().hex,
            settings=self._settings(student, len(history)),
            base_version=student.persona_version,
            base=student.persona,
            spend=meter.spend,
            started_at=started_at,
            **found,
        )
        program._compiled = True
        return program

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
        names = ("mode", "metric", "n", "iterations", "loss_lm", "revision_lm", "listener")
        return {name: getattr(self, name) for name in names}

    def _by_paper(
        self, program: PersonaAgent, history: Sequence[Interaction], held_out: Sequence[Interaction]
    ) -> dict[str, Any]:
        if held_out:
            raise InputError("paper mode accepts every rewrite: leave the valset out, or take mode='evidence'")
        rounds = PaperMode(self.n, self.iterations, self.loss_lm, self.revision_lm, self._tell)
        iterations, stopped = rounds.align(program, history)
        return {"iterations": tuple(iterations), "stopped": stopped}

    def _by_evidence(
        self, program: PersonaAgent, history: Sequence[Interaction], held_out: Sequence[Interaction]
    ) -> dict[str, Any]:
        batch = _batch(program, history, self.n)
        known = [
            interaction for interaction in history if teaches(interaction) and interaction.task == program.task.name
        ]
        learning = EvidenceRound(self._evidence(program), program, program.decisions, self._tell)
        try:
            learnt = learning.run(known, batch, held_out)
        except BudgetError as spent:
            return {"iterations": (), "decisions": program.decisions, "stopped": str(spent)}
        changed = learnt.persona != program.persona
        reasons = [
            f"{decision.change.kind}: {decision.reason}"
            for decision in learnt.decisions
            if decision not in program.decisions
        ]
        iteration = Iteration(
            losses=(),
            candidate=learnt.persona if changed else None,
            accepted=changed,
            reason="; ".join(reasons) or "nothing new was proposed",
        )
        program.speak_under(learnt.persona, None if changed else program.persona_version)
        program.decisions = learnt.decisions
        self._tell(IterationEnded(1, iteration))
        return {"iterations": (iteration,), "simulations": learnt.simulations, "decisions": learnt.decisions}

    def _evidence(self, program: PersonaAgent) -> EvidenceMode:
        mode = self.mode if isinstance(self.mode, EvidenceMode) else EvidenceMode()
        proposers = mode.proposers
        if proposers is None:
            proposers = default_proposers(program, None, self.loss_lm, self.revision_lm)
        return replace(mode, proposers=proposers, metric=self.metric or mode.metric)

    def _settings(self, student: PersonaAgent, seen: int) -> dict[str, Any]:
        return {
            "mode": "paper" if self.mode == "paper" else "evidence",
            "n": self.n,
            "iterations": self.iterations,
            "history": seen,
            "agent": student.settings.model_dump(mode="json"),
            "lm": as_written(model_here()),
        }

    def _tell(self, event: AlignmentEvent) -> None:
        if self.listener is not None:
            self.listener(event)


def examples(history: Sequence[Interaction]) -> list[dspy.Example]:
    """Return interactions as a DSPy trainset: input `query`, label `ground_truth`."""
    return [
        dspy.Example(
            query=interaction.query, ground_truth=interaction.ground_truth, interaction=interaction
        ).with_inputs("query")
        for interaction in history
    ]


def _batch(program: PersonaAgent, history: Sequence[Interaction], n: int) -> list[Interaction]:
    """Return the latest `n` interactions, and all whose served answers are simulations that cost nothing."""
    wanted = {interaction.interaction_id for interaction in latest(history, n)}
    return [
        interaction
        for interaction in sorted(history, key=lambda interaction: interaction.moment)
        if interaction.interaction_id in wanted or (teaches(interaction) and was_served(program, interaction))
    ]


def _interactions(trainset: Sequence[dspy.Example], student: PersonaAgent) -> list[Interaction]:
    """Return examples as interactions: those of memory that say the same, else new ones after all of memory."""
    if not trainset or all("interaction" in example for example in trainset):
        return [example.interaction for example in trainset]
    history = student.memory.history()
    stored = {(normalised(interaction.query), interaction.ground_truth): interaction for interaction in history}
    newest = history[-1].moment if history else None
    found: list[Interaction] = []
    for number, example in enumerate(trainset, 1):
        if "query" not in example or "ground_truth" not in example:
            raise InputError(f"example {number} of the trainset has {sorted(example.keys())}: give query, ground_truth")
        query, truth = str(example.query), str(example.ground_truth)
        new = Interaction(
            interaction_id=f"example-{number}",
            query=query,
            ground_truth=truth,
            task=student.task.name,
            at=newest[0] if newest and history[-1].at else None,
            position=(newest[1] if newest else 0) + number,
        )
        found.append(stored.get((normalised(query), truth), new))
    return found
