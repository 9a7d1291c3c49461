"""Rows of the journal: how calls and attempts are written, and for whom they are not."""

from collections.abc import Sequence
from functools import cache

from sqlalchemy import Connection, TextClause, text

from ..call import Attempt, Call
from ..errors import InputError

# What is there already stays: adding it again does nothing.
_ADD_CALL = text(
    "INSERT INTO calls (run_id, key, number, user_key, role, model, at, noun) "
    "VALUES (:run_id, :key, :number, :user_key, :role, :model, :at, :noun) ON CONFLICT DO NOTHING"
)
_ADD_ATTEMPT = text(
    "INSERT INTO attempts (run_id, key, number, answered, noun) "
    "VALUES (:run_id, :key, :number, :answered, :noun) ON CONFLICT DO NOTHING"
)
# Whoever a call was made for may have been erased since: then nothing of it comes back, and what is appended together
# with it is for others.
_ADD_ATTEMPT_IF_CALLED = (
    "INSERT INTO attempts (run_id, key, number, answered, noun) "
    "SELECT run_id, key, number, CAST(:answered AS INTEGER), :noun FROM calls "
    "WHERE run_id = :run_id AND key = :key AND number = :number{lock} ON CONFLICT DO NOTHING"
)
_ADD_CALL_OF_STORED = (
    "INSERT INTO calls (run_id, key, number, user_key, role, model, at, noun) "
    "SELECT :run_id, :key, CAST(:number AS INTEGER), key, :role, :model, :at, :noun FROM users WHERE key = :user_key "
    "AND NOT EXISTS (SELECT 1 FROM erasures WHERE user_key = users.key AND parts LIKE '%rows%')"
    "{lock} ON CONFLICT DO NOTHING RETURNING key"
)
_IS_CALLED = text("SELECT 1 FROM calls WHERE run_id = :run_id AND key = :key AND number = :number")


Rows = Sequence[dict[str, object]]


def add_calls(connection: Connection, calls: Rows) -> None:
    """Insert calls, whoever they were made for."""
    if calls:
        connection.execute(_ADD_CALL, calls)


def add_calls_of_stored(connection: Connection, calls: Rows) -> frozenset[str]:
    """Insert calls for users who are stored, and those for nobody; return the keys of the other users."""
    add_calls(connection, [row for row in calls if not row["user_key"]])
    gone: set[str] = set()
    for row in calls:
        if row["user_key"] and not connection.execute(_locking(connection, _ADD_CALL_OF_STORED), row).all():
            gone.update([] if connection.execute(_IS_CALLED, row).all() else [str(row["user_key"])])
    return frozenset(gone)


def add_attempts(connection: Connection, attempts: Rows) -> None:
    """Insert attempts."""
    if attempts:
        connection.execute(_ADD_ATTEMPT, attempts)


def add_attempts_if_called(connection: Connection, attempts: Rows) -> None:
    """Insert attempts at calls that are there."""
    if attempts:
        connection.execute(_locking(connection, _ADD_ATTEMPT_IF_CALLED), attempts)


def _locking(connection: Connection, statement: str) -> TextClause:
    """Return a statement that waits in PostgreSQL for an erasure of what it reads; in SQLite, writers take turns."""
    return _with_lock(statement, "" if connection.dialect.name == "sqlite" else " FOR KEY SHARE")


@cache
def _with_lock(statement: str, lock: str) -> TextClause:
    return text(statement.format(lock=lock))


def rows_of(entries: Sequence[Call | Attempt]) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Return the rows of calls and of attempts."""
    # Appends may overlap: those with the same entries must come to them in the same order, or one waits for the other.
    in_order = sorted(entries, key=lambda entry: (entry.key, entry.number))
    calls = [_call_row(entry) for entry in in_order if isinstance(entry, Call)]
    return calls, [_attempt_row(entry) for entry in in_order if isinstance(entry, Attempt)]


def _call_row(call: Call) -> dict[str, object]:
    return {
        "run_id": call.run_id,
        "key": call.key,
        "number": call.number,
        "user_key": call.user_key,
        "role": call.role,
        "model": call.model,
        "at": call.at.isoformat(timespec="microseconds"),  # of one width, so that every collation orders it as time
        "noun": _json(call),
    }


def _attempt_row(attempt: Attempt) -> dict[str, object]:
    return {
        "run_id": attempt.run_id,
        "key": attempt.key,
        "number": attempt.number,
        "answered": int(attempt.response is not None),
        "noun": _json(attempt),
    }


def _json(noun: Call | Attempt) -> str:
    """Return the noun's JSON, as `written` does but without reading it back: every paid call passes here."""
    try:
        return noun.to_json()
    except ValueError as error:
        raise InputError(f"this {type(noun).__name__} cannot be written as JSON: {error}") from error
