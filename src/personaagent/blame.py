"""Why a persona is as it is: each line and the weights, with what caused them and what speaks for them."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal

from .data import html
from .data.answer_weights import AnswerWeights
from .data.call import as_written
from .data.change import ChangeKind, Decision, Evidence
from .data.interaction import Interaction
from .data.memory.rows import content_of
from .data.nouns import Noun
from .data.persona import Kind, PersonaLine, PersonaVersion, Section
from .data.store import User

_WORDS = 12
"""Words of an interaction that are shown."""


class Cause(Noun):
    """An interaction that a line came from."""

    interaction_id: str
    at: datetime | None = None
    words: str | None = None
    """The first words of what was asked or stated; None if the interaction is not stored any more."""

    @property
    def text(self) -> str:
        """When it was, and its first words."""
        return f"{f'{self.at:%Y-%m-%d}' if self.at else '(undated)'}  {self.words or '(forgotten)'}"


class Blamed(Noun):
    """A line of a persona, or its answer weights, and why it is there."""

    kind: Kind | ChangeKind
    text: str
    """The line; of weights, what they say."""
    state: Literal["live", "shadow", "retired"]
    """`live` is in this version; `shadow` is scored without being served; `retired` was live once."""
    because: str
    """What caused it, in words."""
    causes: tuple[Cause, ...] = ()
    """By interaction; weights are of all answered ones, which are not listed."""
    evidence: Evidence | None = None
    """What scored interactions say of it; None if it was never scored."""
    line_id: str | None = None
    """None of weights."""
    section: Section | None = None
    """None of weights."""


class Blame(tuple[Blamed, ...]):
    """What is to be said of each line of a persona, of its weights, and of what is not in it."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        """Show it in a notebook."""
        rows = (
            (each.state, each.kind, each.text, _causes(each), each.evidence.text if each.evidence else "")
            for each in self
        )
        return html.table(("state", "kind", "line", "because of", "evidence"), rows)


def blame(user: User, version: int | None = None) -> Blame:
    """Return every line of a persona version in its order, its weights, then what waits in the shadow or was retired.

    By default it is the live version, or nothing if there is none.
    """
    shown = user.personas.live if version is None else user.personas.get(version)
    if shown is None:
        return Blame()
    decisions = _decisions(user, shown)
    decided = [decision.change.line for decision in decisions if decision.change.line]
    causes = {cause for line in (*shown.persona.lines, *decided) for cause in line.causes}
    known = user.interactions.among(sorted(causes))
    lines = [_blamed(line, decisions, known) for line in shown.persona.lines]
    weights = [] if shown.persona.weights is None else [_weights(user, shown.persona.weights, decisions)]
    return Blame((*lines, *weights, *_elsewhere(shown, decisions, known)))


def _decisions(user: User, version: PersonaVersion) -> list[Decision]:
    """Return the latest decision on each change, of the alignments that this version may rest on."""
    latest: dict[str, Decision] = {}
    for alignment in user.alignments.all():
        if version.status == "live" or alignment.started_at <= version.at:
            latest |= {decision.change.change_id: decision for decision in alignment.decisions}
    return list(latest.values())


def _blamed(line: PersonaLine, decisions: Iterable[Decision], known: Mapping[str, Interaction]) -> Blamed:
    of_line = (each for each in decisions if each.change.line and each.change.line.line_id == line.line_id)
    decision = next(of_line, None)
    return Blamed(
        kind=line.kind,
        text=line.text,
        state="live",
        because=line.source,
        causes=tuple(_cause(name, known) for name in line.causes),
        evidence=decision and _evidence(decision),
        line_id=line.line_id,
        section=line.section,
    )


def _weights(user: User, weights: AnswerWeights, decisions: Iterable[Decision]) -> Blamed:
    decision = next((each for each in decisions if each.change.weights == weights), None)
    answered = sum(each.task == weights.task and each.ground_truth is not None for each in user.interactions.each())
    return Blamed(
        kind="weights",
        text=f"{as_written(weights.lm)} counts {weights.a:g}, the user's habits {weights.b:g}, "
        f"the user's memory {weights.c:g} ({weights.fitted_on})",
        state="live",
        because=f"all {answered} answered interactions of task {weights.task}",
        evidence=decision and _evidence(decision),
    )


def _elsewhere(
    version: PersonaVersion, decisions: Iterable[Decision], known: Mapping[str, Interaction]
) -> Iterable[Blamed]:
    """Yield the lines that were decided on and are not in the version."""
    live = {line.line_id for line in version.persona.lines}
    for decision in decisions:
        line = decision.change.line
        if line is None or line.line_id in live or decision.outcome not in ("shadow", "retired"):
            continue
        yield _blamed(line, [decision], known).model_copy(update={"state": decision.outcome})


def _causes(blamed: Blamed) -> str:
    return html.fold(blamed.because, (cause.text for cause in blamed.causes)) if blamed.causes else blamed.because


def _evidence(decision: Decision) -> Evidence | None:
    return decision.evidence if decision.evidence.n else None


def _cause(interaction_id: str, known: Mapping[str, Interaction]) -> Cause:
    if (interaction := known.get(interaction_id)) is None:
        return Cause(interaction_id=interaction_id)
    words = content_of(interaction).split()
    shown = " ".join(words[:_WORDS]) + (" ..." if len(words) > _WORDS else "")
    return Cause(interaction_id=interaction_id, at=interaction.at, words=shown)
