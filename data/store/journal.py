"""The call journal: every paid call of every run, appended before its answer is used and never changed."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import cache

from sqlalchemy import ColumnElement, Connection, TextClause, and_, func, insert, select, text

from ..call import Attempt, Call, LedgerLine, Part, Run, RunEnd
from ..errors import ErasedUserError, InputError, StorageError, UnknownNameError
from . import tables
from .database import Database
from .log import Log, check_id, next_number, read, written

_runs, _ends, _calls, _attempts = tables.runs, tables.run_ends, tables.calls, tables.attempts

# What is there already stays: adding it again does nothing.
_ADD_CALL = text(
    "INSERT INTO calls (run_id, key, number, user_key, role, model, at, noun) "
    "VALUES (:run_id, :key, :number, :user_key, :role, :model, :at, :noun) ON CONFLICT DO NOTHING"
)
_ADD_ATTEMPT = text(
    "INSERT INTO attempts (run_id, key, number, answered, noun) "
    "VALUES (:run_id, :key, :number, :answered, :noun) ON CONFLICT DO NOTHING"
)
# The user of a call may have been erased since: then nothing of it comes back, and what is appended together with it
# is for others.
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

_Rows = Sequence[Mapping[str, object]]


class Journal(Log):
    """The runs of a store, their calls and how these ended.

    Args:
        database: The database.
        of_stored: Whether calls for a user who is not stored, or is being erased, are left out.

    Raises:
        InputError: Of what adds: a run of this id is recorded already, or an entry cannot be written as JSON.
        UnknownNameError: No run of this id is recorded.
        StorageError: The run was not begun.
    """

    def __init__(self, database: Database, *, of_stored: bool = False) -> None:
        super().__init__(database)
        self._of_stored = of_stored

    def of_stored(self) -> "Journal":
        """Return this journal for work that is done for users of the store: for erased users, nothing is appended."""
        return Journal(self._database, of_stored=True)

    def of_anyone(self) -> "Journal":
        """Return this journal for work that is done for users of files: what is asked about them is appended."""
        return Journal(self._database)

    def begin(self, run: Run) -> None:
        """Record that a run begins."""
        with self._database.write() as connection:
            _add_run(connection, run)

    def end(self, run_id: str, status: RunEnd) -> None:
        """Record how a run, or this stretch of it, ended."""
        with _of_runs(), self._database.write() as connection:
            _add_end(connection, run_id, status)

    def add_run(self, run: Run, ends: Sequence[RunEnd], entries: Sequence[Call | Attempt]) -> None:
        """Record a whole run of another store, in one transaction."""
        calls, attempts = _rows_of(entries)
        with _of_runs(), self._database.write() as connection:
            _add_run(connection, run)
            for end in ends:
                _add_end(connection, run.run_id, end)
            _add(connection, _ADD_CALL, calls)
            _add(connection, _ADD_ATTEMPT, attempts)

    def run(self, run_id: str) -> Run:
        """Return one run."""
        check_id("run id", run_id)
        if (found := self.find(run_id)) is None:
            raise UnknownNameError("run", run_id, [run.run_id for run in self.runs()])
        return found

    def runs(self) -> tuple[Run, ...]:
        """Return every run, oldest first."""
        return self._database.nouns(Run, select(_runs.c.noun).order_by(_runs.c.position))

    def ends(self, run_id: str) -> tuple[RunEnd, ...]:
        """Return how each stretch of a run ended, oldest first; one that was killed has no end."""
        return self._database.nouns(
            RunEnd, select(_ends.c.noun).where(_ends.c.run_id == run_id).order_by(_ends.c.ordinal)
        )

    def result(self, run_id: str) -> str | None:
        """Return the hash of a run's result; None if it is not finished."""
        return next((end.result for end in reversed(self.ends(run_id)) if end.result is not None), None)

    def find(self, run_id: str) -> Run | None:
        """Return one run; None if it is not recorded."""
        return self._database.noun(Run, select(_runs.c.noun).where(_runs.c.run_id == run_id))

    def append(self, entries: Sequence[Call | Attempt]) -> frozenset[str]:
        """Append calls and attempts in one transaction: all of them are written at the end, or none.

        They survive the end of their process, and a power cut too; in SQLite, calls alone only with what waits for the
        disk next. Attempts at calls that are not recorded, since their user was erased, are left out.

        Returns:
            The keys of users who are gone, whose calls were left out (see `of_stored`).
        """
        calls, attempts = _rows_of(entries)
        noting = bool(calls) and not attempts
        gone: frozenset[str] = frozenset()
        with _of_runs(), self._database.append(noting=noting) as connection:
            if self._of_stored:
                gone = _add_calls_of_stored(connection, calls)
            else:
                _add(connection, _ADD_CALL, calls)
            _add(connection, _locking(connection, _ADD_ATTEMPT_IF_CALLED), attempts)
        return gone

    def alone(self, run_id: str, part: Part) -> AbstractContextManager[object]:
        """Let one process at a time do a part of a run: others wait until it is done, or its process is gone."""
        return self._database.alone(f"{run_id} {part.to_json()}")

    def attempts(self, run_id: str, *, user_key: str | None = None) -> dict[str, tuple[int, bool]]:
        """Return, by key of each call of a run (for one user), how many attempts were begun and if one was answered."""
        counted = (
            select(_calls.c.key, func.count(_calls.c.number), func.max(_attempts.c.answered))
            .select_from(_calls.outerjoin(_attempts, same_call()))
            .where(*_chosen(run_id, user_key))
            .group_by(_calls.c.key)
        )
        return {key: (number, bool(answered)) for key, number, answered in self._database.fetch(counted)}

    def last_attempt(self, run_id: str, key: str) -> Attempt | None:
        """Return how a call ended; None if it never did."""
        mine = select(_attempts.c.noun).where(_attempts.c.run_id == run_id, _attempts.c.key == key)
        return self._database.noun(Attempt, mine.order_by(_attempts.c.number.desc()).limit(1))

    def lost(self, run_id: str, *, user_key: str | None = None) -> tuple[Call, ...]:
        """Return the attempts of a run (for one user) that are under way, or were when their process was killed."""
        mine = select(_calls.c.noun).select_from(_calls.outerjoin(_attempts, same_call()))
        return self._database.nouns(Call, mine.where(*_chosen(run_id, user_key), _attempts.c.key.is_(None)))

    def calls(self, run_id: str) -> tuple[Call, ...]:
        """Return the calls of a run, each of their attempts, in the order in which they were begun."""
        mine = select(_calls.c.noun).where(_calls.c.run_id == run_id)
        return self._database.nouns(Call, mine.order_by(_calls.c.at, _calls.c.key))

    def all_attempts(self, run_id: str) -> Iterator[Attempt]:
        """Yield every attempt of a run."""
        mine = select(_attempts.c.noun).where(_attempts.c.run_id == run_id)
        with self._database.read() as connection:
            for noun in connection.scalars(mine.order_by(_attempts.c.key, _attempts.c.number)):
                yield read(Attempt, noun)

    def ledger(self, *, run_id: str | None = None, user_key: str | None = None) -> tuple[LedgerLine, ...]:
        """Return what was spent, of one run or one user if given: a line for each run, user, role and model."""
        names = ("run_id", "user_key", "role", "model")
        rows = select(*(_calls.c[name] for name in names), _attempts.c.noun)
        rows = rows.select_from(_calls.join(_attempts, same_call())).where(*_chosen(run_id, user_key))
        lines: dict[tuple[str, ...], LedgerLine] = {}
        with self._database.read() as connection:
            for *of, noun in connection.execute(rows.order_by(_calls.c.at, _calls.c.key, _attempts.c.number)):
                line = lines.get(tuple(of)) or LedgerLine.model_validate(dict(zip(names, of, strict=True)))
                lines[tuple(of)] = line.with_attempt(read(Attempt, noun))
        return tuple(lines.values())


def now() -> datetime:
    """Return the time, as the journal writes it."""
    return datetime.now(UTC)


def same_call() -> ColumnElement[bool]:
    """Return the condition that joins an attempt to its call."""
    return and_(*(_calls.c[name] == _attempts.c[name] for name in ("run_id", "key", "number")))


@contextmanager
def _of_runs() -> Generator[None]:
    """Say of a row that refers to nothing what it refers to here: a run, not a user."""
    try:
        yield
    except ErasedUserError as error:
        raise StorageError("the run was not begun: nothing of this call was stored") from error


def _add_run(connection: Connection, run: Run) -> None:
    check_id("run id", run.run_id)
    if connection.scalar(select(_runs.c.run_id).where(_runs.c.run_id == run.run_id)) is not None:
        raise InputError(f"run {run.run_id!r} is recorded already: give the new one its own id")
    row = {"run_id": run.run_id, "position": next_number(connection, _runs.c.position), "noun": written(run)}
    connection.execute(insert(_runs).values(row))


def _add_end(connection: Connection, run_id: str, end: RunEnd) -> None:
    ordinal = next_number(connection, _ends.c.ordinal, _ends.c.run_id == run_id)
    connection.execute(insert(_ends).values(run_id=run_id, ordinal=ordinal, noun=written(end)))


def _chosen(run_id: str | None, user_key: str | None) -> Sequence[ColumnElement[bool]]:
    columns = ((_calls.c.run_id, run_id), (_calls.c.user_key, user_key))
    return [column == value for column, value in columns if value is not None]


def _add(connection: Connection, statement: TextClause, rows: _Rows) -> None:
    if rows:
        connection.execute(statement, rows)


def _add_calls_of_stored(connection: Connection, calls: _Rows) -> frozenset[str]:
    """Insert calls for users who are stored, and those for no user; return the keys of the other users."""
    _add(connection, _ADD_CALL, [row for row in calls if not row["user_key"]])
    gone: set[str] = set()
    for row in calls:
        if row["user_key"] and not connection.execute(_locking(connection, _ADD_CALL_OF_STORED), row).all():
            gone.update([] if connection.execute(_IS_CALLED, row).all() else [str(row["user_key"])])
    return frozenset(gone)


def _locking(connection: Connection, statement: str) -> TextClause:
    """Return a statement that waits in PostgreSQL for an erasure of what it reads; in SQLite, writers take turns."""
    return _with_lock(statement, "" if connection.dialect.name == "sqlite" else " FOR KEY SHARE")


@cache
def _with_lock(statement: str, lock: str) -> TextClause:
    return text(statement.format(lock=lock))


def _rows_of(entries: Sequence[Call | Attempt]) -> tuple[_Rows, _Rows]:
    # Appends may overlap: those with the same entries must come to them in the same order, or one waits for the other.
    in_order = sorted(entries, key=lambda entry: (entry.key, entry.number))
    calls = [_call_row(entry) for entry in in_order if isinstance(entry, Call)]
    return calls, [_attempt_row(entry) for entry in in_order if isinstance(entry, Attempt)]


def _call_row(call: Call) -> dict[str, object]:
    fields = {name: getattr(call, name) for name in ("run_id", "key", "number", "user_key", "role", "model")}
    # Of one width, so that every collation orders it as time.
    return {**fields, "at": call.at.isoformat(timespec="microseconds"), "noun": _json(call)}


def _attempt_row(attempt: Attempt) -> dict[str, object]:
    fields = {name: getattr(attempt, name) for name in ("run_id", "key", "number")}
    return {**fields, "answered": int(attempt.response is not None), "noun": _json(attempt)}


def _json(noun: Call | Attempt) -> str:
    """Return the noun's JSON, as `written` does but without reading it back: every paid call passes here."""
    try:
        return noun.to_json()
    except ValueError as error:
        raise InputError(f"this {type(noun).__name__} cannot be written as JSON: {error}") from error
