"""What a user states without being asked: the statements as they are stored, and the lines that they make.

A statement is an interaction of task `said`. It names the earlier ones that it replaces, so which of them hold follows
from those that are stored: if the newest is taken back, what it had replaced holds again.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from itertools import count
from typing import cast

from .errors import InputError
from .interaction import SAID, Interaction
from .nouns import Noun
from .persona import PersonaLine, refusal_of

_REPLACES = "replaces"


class Said(Noun):
    """One statement of a user."""

    statement_id: str
    text: str
    at: datetime | None
    replaced_by: str | None = None
    """Id of the statement that replaced it; None if it holds."""


def checked(text: str) -> str:
    """Return a statement as it is stored; raises an `InputError` if it cannot be a line of a persona."""
    statement = text.strip()
    if not statement:
        raise InputError("the statement is empty: say something of the user, such as 'I am vegetarian'")
    if (refusal := refusal_of(statement)) is not None:
        raise InputError(f"the statement cannot be a line of a persona: {refusal}")
    return statement


def new_statement(text: str, replaces: Iterable[str], known: Collection[str], at: datetime) -> Interaction:
    """Return a statement as an interaction; the same text gets the same id, unless it is among the `known` ones."""
    ids = (hashlib.sha256(f"{SAID}\n{text}\n{number}".encode()).hexdigest()[:16] for number in count())
    return Interaction(
        interaction_id=next(name for name in ids if name not in known),
        query=text,
        at=at,
        task=SAID,
        metadata={_REPLACES: [*sorted(replaces)]},
    )


def replaced_of(statement: Interaction) -> tuple[str, ...]:
    """Return the ids of the earlier statements that this one replaces."""
    return tuple(cast("Sequence[str]", statement.metadata.get(_REPLACES, ())))


def said(interactions: Iterable[Interaction]) -> tuple[Said, ...]:
    """Return a user's statements, oldest first, those that were replaced included."""
    statements = [interaction for interaction in interactions if interaction.task == SAID]
    newer = {old: statement.interaction_id for statement in statements for old in replaced_of(statement)}
    return tuple(
        Said(
            statement_id=statement.interaction_id,
            text=statement.query,
            at=statement.at,
            replaced_by=newer.get(statement.interaction_id),
        )
        for statement in statements
    )


def said_lines(interactions: Iterable[Interaction]) -> tuple[PersonaLine, ...]:
    """Return a line for each statement that holds, oldest first."""
    return tuple(
        PersonaLine(section="preferences", text=statement.text, causes=(statement.statement_id,), kind="said")
        for statement in said(interactions)
        if statement.replaced_by is None
    )
