"""Forgetting an interaction in the journal: calls that quote it keep what they cost, and no word."""

import json
import re
from collections.abc import Iterator, Sequence

from pydantic import JsonValue
from sqlalchemy import ColumnElement, Connection, TableClause, and_, select, update

from ..call import Attempt, Call, Failure
from ..interaction import Interaction
from ..memory.rows import contents_of
from . import schema
from .rows import read, written

_calls, _attempts = schema.calls, schema.attempts
_NAME = ("run_id", "key", "number")
_TELLING = 12
"""Letters and digits from which a text is looked for: a shorter one, as a label, stands in many calls by chance."""
_BEGINNING = 60
"""Letters and digits that are looked for: prompts cut what is longer."""
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")

CallName = tuple[str, str, int]
"""Run, key and number of a call."""


def calls_quoting(connection: Connection, user_key: str, interaction: Interaction) -> list[CallName]:
    """Return the user's calls that were made for an interaction, or in which its words stand."""
    [content] = contents_of([interaction])
    texts = (interaction.query, content, interaction.response, interaction.ground_truth)
    wanted = {words[:_BEGINNING] for words in map(_letters, filter(None, texts)) if len(words) >= _TELLING}
    same = and_(*(_calls.c[name] == _attempts.c[name] for name in _NAME))
    rows = select(_calls.c.noun, _attempts.c.noun).select_from(_calls.outerjoin(_attempts, same))
    found: list[CallName] = []
    for asked, answered in connection.execute(rows.where(_calls.c.user_key == user_key)):
        call = read(Call, asked)
        said = (call.request, read(Attempt, answered).response if answered else None)
        if _is_for(call, interaction) or any(one in words for one in wanted for words in map(_said, said)):
            found.append((call.run_id, call.key, call.number))
    return found


def take_out_words(connection: Connection, names: Sequence[CallName]) -> None:
    """Take the words out of calls. One that is asked for again by its run is made again."""
    forgotten = Failure(kind="lost", message="what it was about was forgotten")
    for name in names:
        is_call, is_attempt = (_is(table, name) for table in (_calls, _attempts))
        call = read(Call, connection.execute(select(_calls.c.noun).where(is_call)).scalar_one())
        wordless = written(call.model_copy(update={"request": "{}"}))
        connection.execute(update(_calls).where(is_call).values(noun=wordless))
        if (noun := connection.scalar(select(_attempts.c.noun).where(is_attempt))) is not None:
            attempt = read(Attempt, noun).model_copy(update={"response": None, "failure": forgotten})
            connection.execute(update(_attempts).where(is_attempt).values(answered=0, noun=written(attempt)))


def _is(table: TableClause, name: CallName) -> ColumnElement[bool]:
    return and_(*(table.c[part] == value for part, value in zip(_NAME, name, strict=True)))


def _is_for(call: Call, interaction: Interaction) -> bool:
    return interaction.interaction_id in re.split("[/ ]", call.place)


def _said(text: str | None) -> str:
    """Return the letters and digits of every text in a JSON document."""
    return "" if text is None else _letters(" ".join(texts_in(json.loads(text))))


def texts_in(value: JsonValue) -> Iterator[str]:
    """Yield every text in a JSON document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from texts_in(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from texts_in(one)


def _letters(text: str) -> str:
    """Return the letters and digits of a text, whatever stands between them and however they are escaped."""
    shown = _ESCAPED.sub(lambda code: chr(int(code.group(1), 16)), text)
    return "".join(letter for letter in shown.casefold() if letter.isalnum())
