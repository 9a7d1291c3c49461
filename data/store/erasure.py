"""Erasing: every row that is a user's, in one transaction, the journal's and a server's included."""

import json

from pydantic import JsonValue
from sqlalchemy import ColumnElement, Connection, TableClause, and_, delete, exists, func, or_, select, update

from ..call import Run
from . import schema
from .rows import read, written

_runs, _calls, _attempts = schema.runs, schema.calls, schema.attempts

_BY_USER = (
    schema.jobs,
    schema.api_keys,
    schema.promotions,
    schema.persona_versions,
    schema.alignments,
    schema.statements,
    schema.interactions,
)
"""In the order in which they refer to each other."""


def erase_rows(connection: Connection, user_key: str) -> dict[str, int]:
    """Delete every row that is of a user, and return how many there were, by table.

    A run that was for this user alone goes as a whole. One that was for others too stays, without the user's calls and
    name: what it has spent is less by these calls, and it cannot be replayed.
    """
    _lock(connection, user_key)
    removed = _erase_runs(connection, user_key)
    calls = _calls.c.user_key == user_key
    _add(removed, _erase_calls(connection, calls))
    keys = select(schema.api_keys.c.key_id).where(schema.api_keys.c.user_key == user_key)
    answered = schema.idempotency.c
    asked_or_meant = or_(answered.user_key == user_key, answered.key_id.in_(keys))
    removed["idempotency"] = _deleted(connection, schema.idempotency, asked_or_meant)
    removed["usage"] = _deleted(connection, schema.usage, schema.usage.c.key_id.in_(keys))
    for table in _BY_USER:
        removed[table.name] = _deleted(connection, table, table.c.user_key == user_key)
    removed["users"] = _deleted(connection, schema.users, schema.users.c.key == user_key)
    return removed


def _lock(connection: Connection, user_key: str) -> None:
    """Wait for whoever is writing to the journal for this user; whoever wants to from now on finds the user gone."""
    users, calls = schema.users.c, _calls.c
    connection.execute(select(users.key).where(users.key == user_key).with_for_update())
    mine = select(calls.key).where(calls.user_key == user_key).order_by(calls.key, calls.number)
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
            _deleted(connection, schema.run_ends, schema.run_ends.c.run_id == run.run_id)
            removed["runs"] += _deleted(connection, _runs, mine)
        else:
            nameless = run.model_copy(update={"arguments": others or {}})
            connection.execute(update(_runs).where(mine).values(noun=written(nameless)))
    return removed


def _without(arguments: dict[str, JsonValue], user_key: str) -> dict[str, JsonValue] | None:
    """Return a run's arguments without one of its users; None if it has no others."""
    users = arguments.get("users")
    others = [one for one in users if one != user_key] if isinstance(users, list) else []
    if not others:
        return None
    kept = {name: value for name, value in arguments.items() if user_key not in json.dumps(value)}
    return {name: others if name == "users" else kept[name] for name in arguments if name == "users" or name in kept}


def _has_calls_of_others(connection: Connection, run_id: str, user_key: str) -> bool:
    theirs = and_(_calls.c.run_id == run_id, _calls.c.user_key.not_in([user_key, ""]))
    return bool(connection.scalar(select(func.count()).select_from(_calls).where(theirs)))


def _erase_calls(connection: Connection, which: ColumnElement[bool]) -> dict[str, int]:
    same = and_(*(_calls.c[name] == _attempts.c[name] for name in ("run_id", "key", "number")))
    attempts = _deleted(connection, _attempts, exists().where(same, which))
    return {"attempts": attempts, "calls": _deleted(connection, _calls, which)}


def _deleted(connection: Connection, table: TableClause, which: ColumnElement[bool]) -> int:
    return connection.execute(delete(table).where(which)).rowcount


def _add(removed: dict[str, int], more: dict[str, int]) -> None:
    for name, count in more.items():
        removed[name] += count
