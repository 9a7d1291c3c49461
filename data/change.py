"""A change of a persona, with its causes and evidence, what was decided, and which kinds of change are certified."""

import hashlib
from datetime import datetime
from functools import cached_property
from typing import Literal, Self

from pydantic import Field, model_validator

from .answer_weights import AnswerWeights
from .nouns import Noun
from .persona import PersonaLine, least_causes

ChangeKind = Literal["weights", "confusion", "style", "rule", "said", "rewrite"]
"""What proposed a change: `said` is the user, `rewrite` the paper's whole rewrite.

`confusion` and `style` are of homes made before release 0.2.0.
"""
Action = Literal["add", "replace", "remove", "weights"]

DECISION_COLUMNS = ("kind", "change", "outcome", "reason", "n", "mean", "wealth")
_FIELDS: dict[Action, set[str]] = {
    "add": {"line"},
    "replace": {"line", "replaces"},
    "remove": {"replaces"},
    "weights": {"weights"},
}


class Change(Noun):
    """New answer weights, or one line added, replaced or removed."""

    kind: ChangeKind
    action: Action
    line: PersonaLine | None = None
    """The new line, of `add` and `replace`."""
    replaces: str | None = None
    """Id of the line that goes, of `replace` and `remove`."""
    weights: AnswerWeights | None = None
    """The new weights, of `weights`."""
    causes: tuple[str, ...] = ()
    """Ids of the interactions that it was made from; only later ones may score it."""

    @model_validator(mode="after")
    def _has_the_fields_of_its_action(self) -> Self:
        given = {name for name in ("line", "replaces", "weights") if getattr(self, name) is not None}
        if given != (needed := _FIELDS[self.action]):
            raise ValueError(f"action {self.action!r} takes {sorted(needed)}, not {sorted(given)}")
        return self

    def without_cause(self, interaction_id: str) -> "Change | None":
        """Return the change without one of its causes; None if too few are left."""
        if interaction_id not in self.causes:
            return self
        causes = tuple(cause for cause in self.causes if cause != interaction_id)
        if len(causes) < least_causes(self.kind):
            return None
        return self.model_copy(update={"causes": causes, "line": self.line and self.line.without_cause(interaction_id)})

    @property
    def text(self) -> str:
        """What it does, in words."""
        if self.weights is not None:
            return f"answer weights: LM {self.weights.a:g}, habits {self.weights.b:g}, memory {self.weights.c:g}"
        return f"{self.action}: {self.line.text if self.line else f'line {self.replaces}'}"

    @cached_property
    def change_id(self) -> str:
        """The same change has the same id, whatever it was made from.

        Answer weights of one LM, task and form are one change: their numbers are fitted anew as users come.
        """
        content = self.line.line_id if self.line else ""
        if self.weights is not None:
            content = "\n".join([self.weights.lm, self.weights.task, self.weights.form])
        parts = (self.kind, self.action, content, self.replaces or "")
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


class Evidence(Noun):
    """What scored interactions say of a change."""

    n: int = Field(ge=0)
    """Bets: interactions of a user for a line, users for a certificate."""
    mean: float
    """Mean difference of the scores, with the change less without it; 0 if there are none."""
    wealth: float = Field(ge=0)
    """What betting on the change has made of 1; see `personaagent.optimizers.betting`."""

    @property
    def text(self) -> str:
        """All of it, in words."""
        return f"scored {self.n} times, mean difference {self.mean:+.3f}, wealth {self.wealth:.2f}"


class Decision(Noun):
    """What became of a change, and why."""

    change: Change
    outcome: Literal["live", "shadow", "rejected", "retired"]
    """`live` is in the persona; `shadow` is scored without being served; `rejected` never was live; `retired` was."""
    evidence: Evidence
    reason: str
    """In one sentence."""
    differences: dict[str, float] = Field(default_factory=dict)
    """Score with the change less without it, by interaction id, in the order in which they were scored."""

    @property
    def cells(self) -> tuple[str, ...]:
        """What a table of `DECISION_COLUMNS` says of it."""
        found = (str(self.evidence.n), f"{self.evidence.mean:+.3f}", f"{self.evidence.wealth:.2f}")
        return (self.change.kind, self.change.text, self.outcome, self.reason, *found)


class Certificate(Noun):
    """Which kinds of change were shown to help, on average over many users, with one LM, task and prompt form.

    Only numbers are in it, nothing of any user.
    """

    lm: str
    """The model's name."""
    task: str
    """Empty: any whose answers are labels or ratings."""
    form: str
    """What the prompt holds, by name: `lean`, `rag:k=4`, `prompt`."""
    kinds: dict[ChangeKind, Evidence]
    """The certified kinds, with one bet for each user."""
    weights: AnswerWeights | None = None
    """Answer weights fitted on the same users."""
    users: int = Field(ge=1)
    """Users whose interactions were scored."""
    version: str
    """Of the package that made it."""
    made_at: datetime

    @property
    def fingerprint(self) -> str:
        """A hash of what is certified; when it was made does not count."""
        return hashlib.sha256(self.model_dump_json(exclude={"made_at"}).encode()).hexdigest()

    def kinds_for(self, lm: str, task: str, form: str) -> frozenset[ChangeKind]:
        """Return the kinds that are certified there; none for another LM, task or form."""
        is_suiting = (lm, form) == (self.lm, self.form) and self.task in ("", task)
        return frozenset(self.kinds) if is_suiting else frozenset()
