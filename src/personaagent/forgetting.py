"""Forgetting an interaction: what only it caused goes, and what it was one cause of is made of the others."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

from pydantic import JsonValue

from .data.alignment import Alignment, Simulation, TextualLoss
from .data.change import Decision
from .data.errors import UnknownNameError
from .data.interaction import Interaction
from .data.memory.counts import count_answers
from .data.memory.rows import content_of
from .data.memory.user_memory import UserMemory
from .data.persona import Adopted, Persona, PersonaLine, PersonaVersion
from .data.said import said_lines
from .data.statement import Statement
from .data.store import User
from .data.task import task_or_open
from .optimizers import initial_persona
from .optimizers.betting import evidence_of
from .programs.quoting import quoted

_OfInteraction = TypeVar("_OfInteraction", TextualLoss, Simulation)


def forget(user: User, interaction_id: str) -> PersonaVersion | None:
    """Delete an interaction and what rests on it: statements, lines of the live persona, what alignments say of it.

    Earlier persona versions stay as they were. If this is cut off, the interaction is still stored: forget it again.

    Returns:
        The live version that was recorded; None if the persona did not need to change.

    Raises:
        InputError: The user has no interaction of this id.
    """
    user.interactions.get(interaction_id)
    version = take_back(user, interaction_id)
    user.interactions.forget(interaction_id)
    return version


def take_back(user: User, interaction_id: str) -> PersonaVersion | None:
    """Take back what was learnt from an interaction, which may still be stored or not; see `forget`."""
    live = user.personas.live
    left = live and without_interaction(live.persona, interaction_id, user.memory)
    version = None
    if live is not None and left is not None and left != live.persona:
        reason = f"an interaction was forgotten: {_change(live.persona, left)}"
        version = user.personas.add(left, reason=reason, status="live", parent=live.number)
    user.alignments.redact(lambda alignment: redacted(alignment, interaction_id))
    return version


def untell(user: User, statement_id: str) -> PersonaVersion | None:
    """Forget something that the user stated; what it had replaced holds again. See `forget`.

    Raises:
        UnknownNameError: There is no statement of this id.
    """
    known = [statement.interaction_id for statement in user.memory.said()]
    if statement_id not in known:
        raise UnknownNameError("statement", statement_id, known)
    return forget(user, statement_id)


def without_interaction(persona: Persona, interaction_id: str, memory: UserMemory) -> Persona:
    """Return the persona as it would be had the interaction never happened, as far as no LM is needed to tell.

    A line that counts answers or texts counts those that are left. A summary goes, or an older one that does not rest
    on the interaction takes its place. Any other line loses the cause, and goes if too few are left (`least_causes`).
    Of the user's statements, those hold that would hold without this one. A demo of the interaction goes. Whether the
    interaction is still in memory does not matter.
    """
    history = {interaction.interaction_id: interaction for interaction in memory.history()}
    gone = history.get(interaction_id)
    lines = persona.lines
    if interaction_id in persona.causes:
        statements = (memory.before(gone) if gone else memory).statements()
        lines = tuple(_lines_without(persona.lines, interaction_id, history, statements))
    adopted = persona.adopted and _without_demos(persona.adopted, gone)
    left = persona.model_copy(update={"lines": lines, "adopted": adopted})
    said = memory.said()
    others = [statement for statement in said if statement.interaction_id != interaction_id]
    return left if len(others) == len(said) else left.with_said(said_lines(others))


def redacted(alignment: Alignment, interaction_id: str) -> Alignment:
    """Return an alignment without what was said in and of an interaction, what only it caused, and its scores.

    The personas in it stay, which are those of recorded versions.
    """

    def others(records: tuple[_OfInteraction, ...]) -> tuple[_OfInteraction, ...]:
        return tuple(record for record in records if record.interaction_id != interaction_id)

    iterations = [step.model_copy(update={"losses": others(step.losses)}) for step in alignment.iterations]
    decisions = [left for decision in alignment.decisions if (left := _decided_without(decision, interaction_id))]
    changed = {
        "iterations": tuple(iterations),
        "simulations": others(alignment.simulations),
        "decisions": tuple(decisions),
    }
    return alignment.model_copy(update=changed)


def _decided_without(decision: Decision, interaction_id: str) -> Decision | None:
    change = decision.change.without_cause(interaction_id)
    differences = {name: value for name, value in decision.differences.items() if name != interaction_id}
    evidence = decision.evidence
    if differences != decision.differences:
        evidence = evidence_of([(difference,) for difference in differences.values()])
    changed = {"change": change, "differences": differences, "evidence": evidence}
    return change and decision.model_copy(update=changed)


def _lines_without(
    lines: Sequence[PersonaLine],
    interaction_id: str,
    history: Mapping[str, Interaction],
    statements: Sequence[Statement],
) -> Iterator[PersonaLine]:
    counts = [line for line in lines if _counts(line, history)]
    cited = {cause for line in counts for cause in line.causes} - {interaction_id}
    counted = iter(
        _statement_lines(count_answers([history[name] for name in history if name in cited], datetime.now(UTC)))
    )
    for line in lines:
        if line in counts:
            yield from islice(counted, 1)
        elif interaction_id not in line.causes or line.kind == "said":
            yield line
        elif line.kind == "statement":
            yield from _statement_lines(_older(line, interaction_id, statements))
        elif (left := line.without_cause(interaction_id)) is not None:
            yield left


def _counts(line: PersonaLine, history: Mapping[str, Interaction]) -> bool:
    """Whether a line counts answers: it is from semantic memory, and what it rests on has a set of answers."""
    known = (history[cause] for cause in line.causes if cause in history)
    return line.kind == "statement" and any(task_or_open(interaction.task).kind != "text" for interaction in known)


def _statement_lines(statements: Sequence[Statement]) -> list[PersonaLine]:
    return [line for line in initial_persona(statements).lines if line.kind == "statement"]


def _older(line: PersonaLine, interaction_id: str, statements: Sequence[Statement]) -> list[Statement]:
    """Return the summary that held before a line's, if it does not rest on the interaction."""
    left = set(line.causes) - {interaction_id}
    return [each for each in statements if each.evidence and left.issuperset(each.evidence)][:1]


def _without_demos(adopted: Adopted, gone: Interaction | None) -> Adopted:
    """Return what another optimizer left, without the demos that show an interaction."""
    if gone is None:
        return adopted
    predictors = {name: _undemonstrated(state, gone) for name, state in adopted.predictors.items()}
    return adopted.model_copy(update={"predictors": predictors})


def _undemonstrated(state: dict[str, JsonValue], gone: Interaction) -> dict[str, JsonValue]:
    demos = state.get("demos")
    return {**state, "demos": [demo for demo in demos if not _shows(demo, gone)]} if isinstance(demos, list) else state


def _shows(demo: JsonValue, gone: Interaction) -> bool:
    """Whether a demo asks what an interaction asked, or quotes it among what is remembered."""
    texts = [text for text in demo.values() if isinstance(text, str)] if isinstance(demo, dict) else []
    content = content_of(gone)
    return any(text == gone.query or quoted(content) in text for text in texts)


def _change(old: Persona, new: Persona) -> str:
    """Say what was changed, in words that tell nothing of the interaction."""
    before, after = ({line.line_id for line in persona.lines} for persona in (old, new))
    return f"{len(before - after)} line(s) went and {len(after - before)} came, the others lost a cause at most"
