"""Erasing: tombstones of users who are to be erased, their rows, and the words of a forgotten interaction."""

import json
import re
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from pydantic import JsonValue
from sqlalchemy import ColumnElement, Connection, Table, and_, delete, exists, func, insert, or_, select, update

from ..call import Attempt, Call, Failure, Run
from ..interaction import Interaction
from ..memory.rows import content_of
from ..texts import texts_in
from . import tables
from .journal import now, same_call
from .log import Log, read, written

Part = Literal["rows", "index", "files", "tracking"]
"""What is removed of a user, in this order: rows of the store, vectors, deleted bytes in its files, MLflow's copies."""

PARTS: tuple[Part, ...] = get_args(Part)

_erasures, _runs, _calls, _attempts = tables.erasures, tables.runs, tables.calls, tables.attempts
_BY_USER = (
    tables.jobs,
    tables.api_keys,
    tables.promotions,
    tables.persona_versions,
    tables.alignments,
    tables.statements,
    tables.interactions,
)
"""In the order in which they refer to each other."""
_LEAST_LETTERS = 12
"""Letters and digits from which a text is looked for: a shorter one, as a label, stands in many calls by chance."""
_BEGINNING = 60
"""Letters and digits that are looked for: prompts cut what is longer."""
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")


class Tombstone(NamedTuple):
    """A user who is to be erased."""

    user_key: str
    at: str
    """When that was noted."""
    parts: tuple[Part, ...]
    """What is left to do."""


class Tombstones(Log):
    """The erasures that are not finished: noted before anything is removed, until nothing is left to remove.

    Of a user, only the key is here.
    """

    def add(self, user_key: str) -> Tombstone:
        """Note that a user is to be erased: it will be done, whatever happens to the process.

        Until the user's rows are gone, nothing more is stored of the user.
        """
        stone = Tombstone(user_key, now().isoformat(timespec="microseconds"), PARTS)
        row = {"user_key": user_key, "at": stone.at, "parts": " ".join(PARTS)}
        with self._database.write() as connection:
            connection.execute(delete(_erasures).where(_erasures.c.user_key == user_key))
            connection.execute(insert(_erasures).values(row))
        return stone

    def all(self) -> tuple[Tombstone, ...]:
        """Return every erasure that is not finished, oldest first."""
        columns = select(_erasures.c.user_key, _erasures.c.at, _erasures.c.parts)
        rows = self._database.fetch(columns.order_by(_erasures.c.at, _erasures.c.user_key))
        return tuple(
            Tombstone(key, at, tuple(part for part in PARTS if part in parts.split())) for key, at, parts in rows
        )

    def find(self, user_key: str) -> Tombstone | None:
        """Return the unfinished erasure of a user; None if there is none."""
        return next((stone for stone in self.all() if stone.user_key == user_key), None)

    def done(self, stone: Tombstone, part: Part) -> None:
        """Note that a part is done. With the last one the tombstone goes; one that was noted anew stays as it is."""
        with self._database.write() as connection:
            strike(connection, stone, part)


def strike(connection: Connection, stone: Tombstone, part: Part) -> None:
    """Strike a part out of a tombstone, in a transaction."""
    this = (_erasures.c.user_key == stone.user_key) & (_erasures.c.at == stone.at)
    parts = connection.scalar(select(_erasures.c.parts).where(this)) or ""
    left = " ".join(name for name in parts.split() if name != part)
    connection.execute(update(_erasures).where(this).values(parts=left) if left else delete(_erasures).where(this))


def is_leaving(connection: Connection, user_key: str) -> bool:
    """Return whether rows of a user are still to be erased: until they are, nothing more is stored of the user."""
    rows_left = (_erasures.c.user_key == user_key) & _erasures.c.parts.contains("rows")
    return bool(connection.scalar(select(exists().where(rows_left))))


def erase_rows(connection: Connection, user_key: str) -> dict[str, int]:
    """Delete every row of a user, those of the journal and of a server included; return their number by table.

    A run that was for this user alone goes as a whole. One that was for others too stays, without the user's calls and
    name: what it has spent is less by these calls, and it cannot be replayed.
    """
    _lock(connection, user_key)
    removed = _erase_runs(connection, user_key)
    _add(removed, _erase_calls(connection, _calls.c.user_key == user_key))
    keys = select(tables.api_keys.c.key_id).where(tables.api_keys.c.user_key == user_key)
    answered = tables.idempotency.c
    asked_or_meant = or_(answered.user_key == user_key, answered.key_id.in_(keys))
    removed["idempotency"] = _deleted(connection, tables.idempotency, asked_or_meant)
    removed["usage"] = _deleted(connection, tables.usage, tables.usage.c.key_id.in_(keys))
    for table in _BY_USER:
        removed[table.name] = _deleted(connection, table, table.c.user_key == user_key)
    removed["users"] = _deleted(connection, tables.users, tables.users.c.key == user_key)
    return removed


def _lock(connection: Connection, user_key: str) -> None:
    """Wait for those who are writing to the journal for this user; those who write afterwards find the user gone."""
    users = tables.users.c
    connection.execute(select(users.key).where(users.key == user_key).with_for_update())
    mine = select(_calls.c.key).where(_calls.c.user_key == user_key).order_by(_calls.c.key, _calls.c.number)
    connection.execute(mine.with_for_update()).all()


def _erase_runs(connection: Connection, user_key: str) -> dict[str, int]:
    """Delete the runs that were for this user alone, and take the name out of those that were for others too."""
    removed = {"runs": 0, "calls": 0, "attempts": 0}
    naming = connection.scalars(select(_runs.c.noun).where(_runs.c.noun.contains(user_key))).all()
    for run in (read(Run, noun) for noun in naming):
        mine = _runs.c.run_id == run.run_id
        others = _without(run.arguments, user_key)
        if others is None and not _has_calls_of_others(connection, run.run_id, user_key):
            _add(removed, _erase_calls(connection, _calls.c.run_id == run.run_id))
            _deleted(connection, tables.run_ends, tables.run_ends.c.run_id == run.run_id)
            removed["runs"] += _deleted(connection, _runs, mine)
        else:
            nameless = run.model_copy(update={"arguments": others or {}})
            connection.execute(update(_runs).where(mine).values(noun=written(nameless)))
    return removed


def _without(arguments: dict[str, JsonValue], user_key: str) -> dict[str, JsonValue] | None:
    """Return a run's arguments without one of its users; None if it has no others."""
    users = arguments.get("users")
    others = [user for user in users if user != user_key] if isinstance(users, list) else []
    if not others:
        return None
    return {
        name: others if name == "users" else value
        for name, value in arguments.items()
        if name == "users" or user_key not in json.dumps(value)
    }


def _has_calls_of_others(connection: Connection, run_id: str, user_key: str) -> bool:
    theirs = and_(_calls.c.run_id == run_id, _calls.c.user_key.not_in([user_key, ""]))
    return bool(connection.scalar(select(func.count()).select_from(_calls).where(theirs)))


def _erase_calls(connection: Connection, which: ColumnElement[bool]) -> dict[str, int]:
    attempts = _deleted(connection, _attempts, exists().where(same_call(), which))
    return {"attempts": attempts, "calls": _deleted(connection, _calls, which)}


def _deleted(connection: Connection, table: Table, which: ColumnElement[bool]) -> int:
    return connection.execute(delete(table).where(which)).rowcount


def _add(removed: dict[str, int], more: dict[str, int]) -> None:
    for name, count in more.items():
        removed[name] += count


def calls_quoting(connection: Connection, user_key: str, interaction: Interaction) -> list[Call]:
    """Return the user's calls that were made for an interaction, or that have its words; without their requests."""
    texts = (interaction.query, content_of(interaction), interaction.response, interaction.ground_truth)
    wanted = {letters[:_BEGINNING] for letters in map(_letters, filter(None, texts)) if len(letters) >= _LEAST_LETTERS}
    rows = select(_calls.c.noun, _attempts.c.noun).select_from(_calls.outerjoin(_attempts, same_call()))
    found: list[Call] = []
    for asked, answered in connection.execute(rows.where(_calls.c.user_key == user_key)):
        call = read(Call, asked)
        texts = (call.request, read(Attempt, answered).response if answered else None)
        is_for = interaction.interaction_id in re.split("[/ ]", call.place)
        if is_for or any(letters in said for said in map(_letters_in_json, texts) for letters in wanted):
            found.append(call.model_copy(update={"request": "{}"}))
    return found


def take_out_words(connection: Connection, wordless: Sequence[Call]) -> None:
    """Take the words out of calls, which keep what they cost. One that its run asks for again is made again."""
    forgotten = Failure(kind="lost", message="what it was about was forgotten")
    for call in wordless:
        is_call, is_attempt = (_is(table, call) for table in (_calls, _attempts))
        connection.execute(update(_calls).where(is_call).values(noun=written(call)))
        if (noun := connection.scalar(select(_attempts.c.noun).where(is_attempt))) is not None:
            attempt = read(Attempt, noun).model_copy(update={"response": None, "failure": forgotten})
            connection.execute(update(_attempts).where(is_attempt).values(answered=0, noun=written(attempt)))


def _is(table: Table, call: Call) -> ColumnElement[bool]:
    return and_(table.c.run_id == call.run_id, table.c.key == call.key, table.c.number == call.number)


def _letters_in_json(text: str | None) -> str:
    return "" if text is None else _letters(" ".join(texts_in(json.loads(text))))


def _letters(text: str) -> str:
    """Return the letters and digits of a text, whatever stands between them and however they are escaped."""
    shown = _ESCAPED.sub(lambda code: chr(int(code.group(1), 16)), text)
    return "".join(letter for letter in shown.casefold() if letter.isalnum())
