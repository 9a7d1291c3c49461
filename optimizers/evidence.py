"""Evidence mode: propose small changes, score them on later interactions, accept what proves itself, watch the rest.

simulate the batch ─► propose changes ─► score each, with it and without ─► live │ shadow │ rejected │ retired
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import dspy
from pydantic import ValidationError

from ..data.alignment import Simulation
from ..data.answer_weights import AnswerWeights
from ..data.change import Change, Decision
from ..data.errors import InputError
from ..data.interaction import Interaction
from ..data.persona import Persona
from ..programs import PersonaAgent
from ..programs.module import model_here
from ..programs.scope import within
from ..programs.weighing import softened
from .acceptance import Acceptance, EProcess
from .betting import evidence_of
from .changes import decided_persona, has_change, with_change, without_change
from .events import AlignmentEvent, Simulated
from .proposers import Case, Proposer, ProposeRules, ProposeUnfittedWeights, ProposeWeights, Seen, asks_rules
from .scoring import score_of
from .simulation import Simulate, was_served

Metric = Callable[[dspy.Example, dspy.Prediction], float]
"""Scores an answer, 0 to 1, the more the better."""

SCORED_SHARE = 3
"""A line is scored on one interaction of so many: each costs a call."""


@dataclass(frozen=True)
class EvidenceMode:
    """How changes are proposed, scored and accepted."""

    proposers: Sequence[Proposer] | None = None
    """By default those that suit the program and its LM: see `default_proposers`."""
    acceptance: Acceptance = field(default_factory=EProcess)
    metric: Metric | None = None
    """Scores answers; by default the probability of the ground truth, else the metric of the task's kind."""


def default_proposers(
    student: PersonaAgent,
    fitted: AnswerWeights | None = None,
    loss_lm: dspy.LM | None = None,
    revision_lm: dspy.LM | None = None,
) -> tuple[Proposer, ...]:
    """Return the proposers that suit a program and the LM of the context: of answer weights, and of rules.

    Args:
        student: The program that is aligned.
        fitted: Answer weights that were fitted on other users; by default they are made from the batch, once.
        loss_lm: The model that explains mistakes; by default that of the context.
        revision_lm: The model that writes rules; by default that of the context.
    """
    proposers: list[Proposer] = []
    if fitted is not None:
        proposers.append(ProposeWeights(fitted))
    elif _lacks_weights(student):
        proposers.append(ProposeUnfittedWeights(student.settings.form))
    if asks_rules():
        proposers.append(ProposeRules(loss_lm, revision_lm))
    return tuple(proposers)


def _lacks_weights(student: PersonaAgent) -> bool:
    """Whether a program's answers can be weighed, and nothing was decided of weights for it yet."""
    purpose = (model_here(), student.task.name, student.settings.form)
    decided = (decision.change.weights for decision in student.decisions)
    known = {(weights.lm, weights.task, weights.form) for weights in (student.persona.weights, *decided) if weights}
    return student.settings.preset == "lean" and student.settings.weights and purpose not in known


@dataclass(frozen=True)
class Learnt:
    """What one alignment found."""

    simulations: tuple[Simulation, ...]
    decisions: tuple[Decision, ...]
    """Every change that is known, those decided before included."""
    persona: Persona


class EvidenceRound:
    """One alignment of one user.

    Args:
        mode: Who proposes changes, and how they are scored and accepted.
        program: Speaks under the live persona; it is not changed.
        known: What was decided of changes in earlier alignments.
        tell: Is told of each simulation.
    """

    def __init__(
        self,
        mode: EvidenceMode,
        program: PersonaAgent,
        known: Sequence[Decision],
        tell: Callable[[AlignmentEvent], None],
    ) -> None:
        self._mode, self._program, self._known, self._tell = mode, program, known, tell
        self._proposers = mode.proposers or ()
        self._simulate = Simulate(reuse_served=True)
        self._simulated: dict[str, Seen] = {}

    def run(
        self, history: Sequence[Interaction], batch: Sequence[Interaction], held_out: Sequence[Interaction]
    ) -> Learnt:
        """Propose from the history, score on what came later, decide.

        Args:
            history: The user's interactions of the task with a ground truth, oldest first, `batch` among them.
            batch: Those that are answered again, as far as a proposer or the score of a change needs it.
            held_out: Further ones that only score: no change is made from them.
        """
        eager = any(proposer.simulates and proposer.applies(self._program.task) for proposer in self._proposers)
        seen = [self._seen(interaction) for interaction in batch if eager or was_served(self._program, interaction)]
        changes = self._proposed(history, batch, seen)
        moments = {interaction.interaction_id: interaction for interaction in history}
        decisions = tuple(self._decided(change, batch, held_out, moments) for change in changes)
        simulations = tuple(
            Simulation(
                interaction_id=seen.interaction.interaction_id,
                response=seen.response,
                lm_probabilities=seen.lm_probabilities,
            )
            for seen in self._simulated.values()
        )
        return Learnt(simulations, decisions, decided_persona(self._program.persona, decisions))

    def _seen(self, interaction: Interaction) -> Seen:
        """Return what the agent says to an interaction, which is asked once, when it is first needed."""
        if (before := self._simulated.get(interaction.interaction_id)) is not None:
            return before
        with within("simulation", f"interaction {interaction.interaction_id}"):
            answered = self._simulate(agent=self._program, interaction=interaction)
        seen = Seen(interaction, answered.response, answered.lm_probabilities)
        self._simulated[interaction.interaction_id] = seen
        self._tell(Simulated(interaction, answered.response))
        return seen

    def _proposed(
        self, history: Sequence[Interaction], batch: Sequence[Interaction], seen: Sequence[Seen]
    ) -> list[Change]:
        """Return the changes that are still open, then the new ones."""
        again = {interaction.interaction_id for interaction in batch}
        before = [interaction for interaction in history if interaction.interaction_id not in again]
        served = [
            Seen(interaction, interaction.response, None) for interaction in before if interaction.response is not None
        ]
        case = Case(self._program.task, self._program.persona, before, [*served, *seen])
        proposed = (change for proposer in self._proposers for change in proposer.propose(case))
        known = {decision.change.change_id: decision.change for decision in self._known}
        waiting = {decision.change.change_id for decision in self._known if decision.outcome == "shadow"}
        new = {
            change.change_id: change
            for change in proposed
            if change.change_id not in known or change.change_id in waiting
        }
        return list({**known, **new}.values())

    def _decided(
        self,
        change: Change,
        batch: Sequence[Interaction],
        held_out: Sequence[Interaction],
        moments: dict[str, Interaction],
    ) -> Decision:
        before = next((decision for decision in self._known if decision.change.change_id == change.change_id), None)
        if before is not None and before.outcome in {"rejected", "retired"}:
            return before
        scored = {} if before is None else before.differences
        later = [interaction for interaction in batch if _is_due(change, interaction, moments)]
        new = [interaction for interaction in (*later, *held_out) if interaction.interaction_id not in scored]
        try:
            found = {
                interaction.interaction_id: self._difference(change, self._seen(interaction)) for interaction in new
            }
        except ValidationError as error:
            return self._refused(change, error.errors()[0]["msg"])
        differences = {**scored, **found}
        verdict = self._mode.acceptance.decide(list(differences.values()), change.kind)
        was_live = has_change(self._program.persona, change)
        outcome: Literal["live", "shadow", "rejected", "retired"]
        if verdict.action == "retire":
            outcome = "retired" if was_live else "rejected"
        else:
            outcome = "live" if verdict.action == "accept" else "shadow"
        evidence = evidence_of([[difference] for difference in differences.values()])
        return Decision(
            change=change, outcome=outcome, evidence=evidence, reason=verdict.reason, differences=differences
        )

    def _refused(self, change: Change, reason: str) -> Decision:
        return Decision(change=change, outcome="rejected", evidence=evidence_of([]), reason=reason)

    def _difference(self, change: Change, seen: Seen) -> float:
        """Return the score of an interaction with a change less without it."""
        persona = self._program.persona
        is_live = has_change(persona, change)
        other = without_change(persona, change) if is_live else with_change(persona, change)
        twin = self._program.deepcopy()
        twin.speak_under(other)
        if change.action == "weights":  # Both on one scale: an LM that gives no probabilities is never quite certain.
            seen = seen._replace(lm_probabilities=seen.lm_probabilities and softened(seen.lm_probabilities))
        now = self._score(self._program, seen)
        if change.action == "weights":
            otherwise = self._score(twin, seen)
        else:
            with within(f"change {change.change_id}", f"interaction {seen.interaction.interaction_id}"):
                answered = self._simulate(agent=twin, interaction=seen.interaction)
            otherwise = self._score(twin, Seen(seen.interaction, answered.response, answered.lm_probabilities))
        return now - otherwise if is_live else otherwise - now

    def _score(self, agent: PersonaAgent, seen: Seen) -> float:
        """Return the score of what the LM said, as the agent weighs it."""
        interaction, task = seen.interaction, agent.task
        response, probabilities = seen.response, None
        if seen.lm_probabilities is not None:
            found = agent.as_of(interaction).weigh(query=interaction.query, lm_probabilities=seen.lm_probabilities)
            response, probabilities = found.response, found.probabilities
        if self._mode.metric is None:
            return score_of(probabilities, response, interaction.ground_truth or "", task)
        example = dspy.Example(query=interaction.query, ground_truth=interaction.ground_truth).with_inputs("query")
        score = float(self._mode.metric(example, dspy.Prediction(response=response, probabilities=probabilities)))
        if not 0 <= score <= 1:
            raise InputError(f"the metric says {score}: a score by which a change is judged is a number from 0 to 1")
        return score


def _is_due(change: Change, interaction: Interaction, moments: dict[str, Interaction]) -> bool:
    """Whether an interaction scores a change: it is later than all causes, and of a line, one of several."""
    causes = [moments[cause] for cause in change.causes if cause in moments]
    if interaction.interaction_id in change.causes or not all(cause.precedes(interaction) for cause in causes):
        return False
    if change.action == "weights":
        return True
    digest = hashlib.sha256(f"{change.change_id} {interaction.interaction_id}".encode()).digest()
    return digest[0] % SCORED_SHARE == 0
