"""What an alignment was: its losses, its candidates, what it cost and why it ended as it did."""

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from . import html
from .answer_weights import Distribution
from .call import both
from .change import DECISION_COLUMNS, Decision
from .nouns import Noun
from .persona import Persona, persona_diff


class Spend(Noun):
    """What was used: LM calls, tokens, dollars and seconds."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float | None = None
    """None where the price is not known, which is not the same as free."""
    seconds: float = 0.0

    def __add__(self, other: "Spend") -> "Spend":
        """Return both together."""
        return Spend(
            calls=self.calls + other.calls,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            dollars=both(self.dollars, other.dollars),
            seconds=self.seconds + other.seconds,
        )


class TextualLoss(Noun):
    """An LM's critique of one simulated response against what the user really did (paper, section on alignment)."""

    interaction_id: str
    query: str
    response: str | None
    """What the agent said in the simulation; None if it gave no answer in the form of the task."""
    ground_truth: str
    critique: str
    """The advice for the persona: the paper's textual gradient."""


class Iteration(Noun):
    """One round of the loop: losses under a persona, and the candidate that was revised from them."""

    losses: tuple[TextualLoss, ...]
    candidate: Persona | None
    """None if the rewrite could not be read: then the persona stays as it was."""
    accepted: bool
    reason: str


class Simulation(Noun):
    """A past interaction, answered again from what was known before it, or as it was answered then."""

    interaction_id: str
    response: str | None
    lm_probabilities: Distribution | None = None
    """What the LM said of each answer; None of a text."""


class Alignment(Noun):
    """The whole result of one alignment; `compile` attaches it to the program as `program.alignment`."""

    alignment_id: str
    settings: dict[str, JsonValue]
    """Mode, n, iterations, seed, policies and models: what is needed to run it again."""
    base_version: int | None
    """Number of the version that it started from, if that one was recorded."""
    base: Persona
    iterations: tuple[Iteration, ...]
    simulations: tuple[Simulation, ...] = ()
    """What was answered again, oldest first."""
    decisions: tuple[Decision, ...] = ()
    """What became of every change that is known of this user, in evidence mode."""
    spend: Spend = Field(default_factory=Spend)
    started_at: datetime
    stopped: str | None = None
    """Why it ended before its last iteration, if it did."""

    @property
    def persona(self) -> Persona:
        """The persona that the alignment ended with: the last accepted candidate, else the base."""
        accepted = [step.candidate for step in self.iterations if step.accepted and step.candidate]
        return accepted[-1] if accepted else self.base

    @property
    def losses(self) -> tuple[TextualLoss, ...]:
        """The losses of all iterations, in order."""
        return tuple(loss for step in self.iterations for loss in step.losses)

    def _repr_html_(self) -> str:
        """Show it in a notebook: each change, what became of it and why, and what it did to the persona."""
        steps = [(step.reason, "accepted" if step.accepted else "rejected") for step in self.iterations]
        losses = [(loss.query, loss.response or "", loss.ground_truth, loss.critique) for loss in self.losses]
        tables = (
            ("Changes", DECISION_COLUMNS, [decision.cells for decision in self.decisions]),
            ("Textual losses", ("query", "response", "the user", "textual loss"), losses),
            ("Iterations", ("", ""), steps if losses else []),
        )
        shown = "".join(html.table(columns, rows, title) for title, columns, rows in tables if rows)
        spend, stopped = self.spend, f". It ended early: {self.stopped}" if self.stopped else ""
        tokens = spend.prompt_tokens + spend.completion_tokens
        cost = html.markup(f"{spend.calls:,} calls, {tokens:,} tokens, {spend.seconds:,.0f} s{stopped}")
        changed = html.diff(persona_diff(self.base, self.persona))
        return f"{shown or '<p>No change was proposed.</p>'}{changed}<p>{cost}</p>"


JobState = Literal["waiting", "running", "cancelling", "finished", "failed", "cancelled", "interrupted"]
"""`cancelling`: the process that does it is to end it, and has not yet. `interrupted`: that process ended before it."""


class Job(Noun):
    """An alignment that a server was asked for, or began by itself."""

    job_id: str = Field(pattern=r"^[0-9a-f]{16}$")
    state: JobState = "waiting"
    reason: str = ""
    """Why it was begun, then why it ended as it did."""
    n: int = Field(default=3, ge=1, le=20)
    """Interactions in the batch."""
    iterations: int = Field(default=1, ge=1, le=10)
    alignment_id: str | None = None
    version: int | None = None
    """The persona version that is live because of it."""
    losses: int = 0
    known: int = 0
    """Ground truths that the user had given when it began."""
    key_id: str = ""
    """The API key that pays for it."""
    worker: str = ""
    """The run of the process that does it."""
    started_at: datetime
    ended_at: datetime | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state not in {"waiting", "running", "cancelling"}
