"""A persona with a change, and without it."""

from collections.abc import Sequence

from ..data.change import Change, Decision
from ..data.persona import Persona, PersonaLine


def has_change(persona: Persona, change: Change) -> bool:
    """Whether a persona is as a change makes it."""
    if change.action == "weights":
        return persona.weights == change.weights
    ids = {line.line_id for line in persona.lines}
    if change.line is None:
        return change.replaces not in ids
    return change.line.line_id in ids


def with_change(persona: Persona, change: Change) -> Persona:
    """Return the persona as a change makes it.

    With answer weights, the counts of answers need no words: lines of semantic memory that say them go.

    Raises:
        pydantic.ValidationError: It would be over its size limit.
    """
    if change.action == "weights":
        lines = tuple(line for line in persona.lines if line.kind != "statement")
        return persona.model_copy(update={"weights": change.weights, "lines": lines})
    kept = _without(persona, change.replaces)
    return _having(persona, (*kept, change.line) if change.line else kept)


def without_change(persona: Persona, change: Change) -> Persona:
    """Return the persona without what a change brought; what it replaced does not come back."""
    if change.action == "weights":
        return persona.model_copy(update={"weights": None})
    return _having(persona, _without(persona, change.line.line_id if change.line else None))


def decided_persona(persona: Persona, decisions: Sequence[Decision]) -> Persona:
    """Return the persona that has what is live, and not what is not."""
    for decision in decisions:
        is_live, has_it = decision.outcome == "live", has_change(persona, decision.change)
        if is_live and not has_it:
            persona = with_change(persona, decision.change)
        elif not is_live and has_it and decision.change.action != "remove":
            persona = without_change(persona, decision.change)
    return persona


def _without(persona: Persona, line_id: str | None) -> tuple[PersonaLine, ...]:
    return tuple(line for line in persona.lines if line.line_id != line_id)


def _having(persona: Persona, lines: tuple[PersonaLine, ...]) -> Persona:
    return persona.model_copy(update={"lines": Persona(lines=lines).lines})
