"""What a user states becomes a line of the persona at once; no LM is asked."""

from collections.abc import Callable
from datetime import UTC, datetime

from pydantic import ValidationError

from .data.errors import InputError, UnknownNameError
from .data.interaction import Interaction
from .data.nouns import Noun
from .data.persona import PersonaVersion, estimated_tokens
from .data.said import Said, checked, new_statement, replaced_of, said, said_lines
from .data.store import User
from .personas import keep_said, live_persona

SAME_SUBJECT = 0.6
"""Cosine from which a statement replaces an earlier one.

With the embedded embedder, 8 of 12 made-up pairs on one subject are at least as near ("I am vegetarian" and "I eat meat
again": .61, "I like horror films" and "I no longer like horror films": .84, but "I live in Oslo" and "I have moved to
Lisbon": .55), and 2 of 13 pairs on different subjects ("I speak German" and "I speak French": .72). For what it misses
there is `replace`, for what it wrongly replaces `also`.
"""
MAX_SAID_TOKENS = 750
"""Of all statements that hold: half a persona, so that there is room for what is learnt."""


class Told(Noun):
    """What came of a statement."""

    statement: Said
    replaced: tuple[Said, ...]
    """Statements that held until now and do not any more."""
    version: PersonaVersion
    """The live persona, which has it as a line."""


def tell(user: User, text: str, *, replace: str | None = None, also: bool = False) -> Told:
    """Store what a user states, and record a live persona version that has it as a line.

    It replaces the earlier statements on the same subject (`SAME_SUBJECT`), which stay as history.

    Args:
        user: Who says so.
        text: One line, at most 300 characters, for which there must be room in the persona.
        replace: Id of an earlier statement that it replaces, whatever the two are about.
        also: Whether earlier statements on the same subject hold beside it.
    """
    statement = checked(text)
    earlier = user.memory.said()
    holding = [each for each in said(earlier) if each.replaced_by is None]
    replaced = _replaced(user, statement, earlier, replace, also)
    known = {each.interaction_id for each in earlier}
    new = new_statement(statement, replaced, known, datetime.now(UTC))
    _check_room(user, (*earlier, new))
    user.interactions.add([new])
    told = Said(statement_id=new.interaction_id, text=new.query, at=new.at)
    gone = tuple(
        each.model_copy(update={"replaced_by": told.statement_id}) for each in holding if each.statement_id in replaced
    )
    reason = "the user said so" + (f", in place of {len(gone)} earlier statement(s)" if gone else "")
    return Told(statement=told, replaced=gone, version=keep_said(user, reason))


def roll_back(
    user: User,
    number: int,
    reason: str,
    *,
    while_live: Callable[[PersonaVersion | None], bool] = lambda _live: True,
) -> PersonaVersion:
    """Make an older version live again and return what is live then: what the user states holds in it too.

    Raises:
        ChangedError: Another version is live than `while_live` lets pass.
        InputError: It is live already.
    """
    promoted = user.personas.promote(number, reason, while_live=while_live)
    return keep_said(user, _with_said(number)) if user.memory.said() else promoted


def is_rolled_back(user: User, number: int) -> bool:
    """Return whether an older version is live again, as `roll_back` left it or was leaving it when it was cut off."""
    live = user.personas.live
    return live is not None and (live.number == number or (live.parent, live.reason) == (number, _with_said(number)))


def _with_said(number: int) -> str:
    return f"version {number} with what the user states"


def _replaced(
    user: User, statement: str, earlier: tuple[Interaction, ...], replace: str | None, also: bool
) -> set[str]:
    """Return the ids of the statements that a new one replaces.

    All earlier ones are compared, those that hold no more too: so it does not matter which of them is taken back later.
    """
    replaced: set[str] = set()
    if not also:
        alike = user.memory.likeness(statement, [each.query for each in earlier])
        replaced = {each.interaction_id for each, like in zip(earlier, alike, strict=True) if like >= SAME_SUBJECT}
    if replace is not None:
        named = next((each for each in earlier if each.interaction_id == replace), None)
        if named is None:
            raise UnknownNameError("statement", replace, [each.interaction_id for each in earlier])
        replaced |= {replace, *replaced_of(named)}
    return replaced


def _check_room(user: User, statements: tuple[Interaction, ...]) -> None:
    lines, live = said_lines(statements), live_persona(user)
    if (tokens := estimated_tokens("\n".join(line.text for line in lines))) > MAX_SAID_TOKENS:
        raise InputError(
            f"the user's statements would have about {tokens} tokens, and {MAX_SAID_TOKENS} are allowed: take one back"
        )
    try:
        live.persona.with_said(lines)
    except ValidationError as error:
        raise InputError(f"there is no room for this statement: {error.errors()[0]['msg']}") from error
