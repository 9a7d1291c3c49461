"""The call journal: every paid call of every run, appended before its answer is used and never changed."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, and_, func, insert, select

from ..call import Attempt, Call, LedgerLine, Part, Run, RunEnd
from ..errors import ErasedUserError, InputError, StorageError, UnknownNameError
from . import schema
from .database import Database
from .journal_rows import add_attempts, add_attempts_if_called, add_calls, add_calls_of_stored, rows_of
from .rows import Handle, check_id, next_number, read, written

_runs, _ends, _calls, _attempts = schema.runs, schema.run_ends, schema.calls, schema.attempts


@contextmanager
def _of_runs() -> Generator[None]:
    """Say of a row that refers to nothing what it refers to here: a run, not a user."""
    try:
        yield
    except ErasedUserError as error:
        raise StorageError("the run was not begun: nothing of this call was stored") from error


class Journal(Handle):
    """The runs of a store, their calls and how these ended.

    Args:
        database: Where they rest.
        of_stored: Whether calls for a user who is not stored, or is being erased, are left out.
    """

    def __init__(self, database: Database, *, of_stored: bool = False) -> None:
        self._database, self._of_stored = database, of_stored

    def of_stored(self) -> "Journal":
        """Return this journal for work that is done for users of the store: once one is gone, nothing is appended."""
        return Journal(self._database, of_stored=True)

    def begin(self, run: Run) -> None:
        """Record that a run begins.

        Raises:
            InputError: A run of this id is recorded already.
            StorageError: The disk is full or refuses to write.
        """
        with self._database.write() as connection:
            _add_run(connection, run)

    def end(self, run_id: str, status: RunEnd) -> None:
        """Record how a run, or this stretch of it, ended.

        Raises:
            StorageError: The run was not begun, or the disk is full.
        """
        with _of_runs(), self._database.write() as connection:
            _add_end(connection, run_id, status)

    def add_run(self, run: Run, ends: Sequence[RunEnd], entries: Sequence[Call | Attempt]) -> None:
        """Record a whole run of somebody else's, in one transaction.

        Raises:
            InputError: A run of this id is recorded already.
            StorageError: The disk is full or refuses to write.
        """
        calls, attempts = rows_of(entries)
        with _of_runs(), self._database.write() as connection:
            _add_run(connection, run)
            for end in ends:
                _add_end(connection, run.run_id, end)
            add_calls(connection, calls)
            add_attempts(connection, attempts)

    def run(self, run_id: str) -> Run:
        """Return one run.

        Raises:
            UnknownNameError: None of this id is recorded.
        """
        check_id("run id", run_id)
        if (found := self.find(run_id)) is None:
            raise UnknownNameError("run", run_id, [run.run_id for run in self.runs()])
        return found

    def runs(self) -> tuple[Run, ...]:
        """Return every run, oldest first."""
        with self._database.read() as connection:
            nouns = connection.scalars(select(_runs.c.noun).order_by(_runs.c.position)).all()
        return tuple(read(Run, noun) for noun in nouns)

    def ends(self, run_id: str) -> tuple[RunEnd, ...]:
        """Return how each stretch of a run ended, oldest first; one that was killed has no end."""
        mine = select(_ends.c.noun).where(_ends.c.run_id == run_id).order_by(_ends.c.ordinal)
        with self._database.read() as connection:
            return tuple(read(RunEnd, noun) for noun in connection.scalars(mine))

    def result(self, run_id: str) -> str | None:
        """Return the hash of what a run came to; None if it is not finished."""
        return next((end.result for end in reversed(self.ends(run_id)) if end.result is not None), None)

    def find(self, run_id: str) -> Run | None:
        """Return one run; None if it is not recorded."""
        with self._database.read() as connection:
            noun = connection.scalar(select(_runs.c.noun).where(_runs.c.run_id == run_id))
        return None if noun is None else read(Run, noun)

    def append(self, entries: Sequence[Call | Attempt]) -> frozenset[str]:
        """Append calls and attempts in one transaction: all of them are written at the end, or none.

        They outlive their process, and a power cut too; in SQLite, calls alone only with what waits for the disk next.
        Attempts at calls that are not recorded, since whoever they were made for was erased, are left out.

        Returns:
            The keys of users who are gone, whose calls were left out (see `of_stored`).

        Raises:
            InputError: One of them cannot be written, such as a failure's message with half of a Unicode pair.
            StorageError: The disk is full or refuses to write.
        """
        calls, attempts = rows_of(entries)
        noting = bool(calls) and not attempts
        with _of_runs(), self._database.append(noting=noting) as connection:
            gone = add_calls_of_stored(connection, calls) if self._of_stored else frozenset[str]()
            if not self._of_stored:
                add_calls(connection, calls)
            add_attempts_if_called(connection, attempts)
        return gone

    @contextmanager
    def alone(self, run_id: str, part: Part) -> Generator[None]:
        """Let one process at a time do a part of a run: others wait until it is done, or its process is gone.

        Raises:
            SetupError: The journal is in SQLite, which cannot be shared by machines.
            StorageError: The server cannot be reached.
        """
        with self._database.alone(f"{run_id} {part.to_json()}"):
            yield

    def attempts(self, run_id: str, *, user_key: str | None = None) -> dict[str, tuple[int, bool]]:
        """Return, by key of each call of a run, how many attempts were begun and whether one was answered.

        Args:
            run_id: The run.
            user_key: Only this user's calls.
        """
        counted = (
            select(_calls.c.key, func.count(_calls.c.number), func.max(_attempts.c.answered))
            .select_from(_calls.outerjoin(_attempts, _same_call()))
            .where(*_of_run(run_id, user_key))
            .group_by(_calls.c.key)
        )
        with self._database.read() as connection:
            return {key: (number, bool(answered)) for key, number, answered in connection.execute(counted)}

    def last_attempt(self, run_id: str, key: str) -> Attempt | None:
        """Return how a call ended; None if it never did."""
        mine = and_(_attempts.c.run_id == run_id, _attempts.c.key == key)
        with self._database.read() as connection:
            noun = connection.scalar(select(_attempts.c.noun).where(mine).order_by(_attempts.c.number.desc()).limit(1))
        return None if noun is None else read(Attempt, noun)

    def lost(self, run_id: str, *, user_key: str | None = None) -> tuple[Call, ...]:
        """Return the attempts of a run that never ended: they are under way, or were when their process was killed.

        Args:
            run_id: The run.
            user_key: Only this user's calls.
        """
        mine = select(_calls.c.noun).select_from(_calls.outerjoin(_attempts, _same_call()))
        never_ended = mine.where(*_of_run(run_id, user_key), _attempts.c.key.is_(None))
        with self._database.read() as connection:
            return tuple(read(Call, noun) for noun in connection.scalars(never_ended))

    def calls(self, run_id: str) -> tuple[Call, ...]:
        """Return the calls of a run, each of their attempts, in the order in which they were begun."""
        mine = select(_calls.c.noun).where(_calls.c.run_id == run_id).order_by(_calls.c.at, _calls.c.key)
        with self._database.read() as connection:
            return tuple(read(Call, noun) for noun in connection.scalars(mine))

    def all_attempts(self, run_id: str) -> Iterator[Attempt]:
        """Yield every attempt of a run."""
        mine = (
            select(_attempts.c.noun).where(_attempts.c.run_id == run_id).order_by(_attempts.c.key, _attempts.c.number)
        )
        with self._database.read() as connection:
            for noun in connection.scalars(mine):
                yield read(Attempt, noun)

    def ledger(self, *, run_id: str | None = None, user_key: str | None = None) -> tuple[LedgerLine, ...]:
        """Return what was spent, a line for each run, user, role and model.

        Args:
            run_id: Only this run.
            user_key: Only this user.
        """
        chosen: list[ColumnElement[bool]] = []
        if run_id is not None:
            chosen.append(_calls.c.run_id == run_id)
        if user_key is not None:
            chosen.append(_calls.c.user_key == user_key)
        columns = (_calls.c.run_id, _calls.c.user_key, _calls.c.role, _calls.c.model, _attempts.c.noun)
        rows = select(*columns).select_from(_calls.join(_attempts, _same_call())).where(*chosen)
        in_order = (_calls.c.at, _calls.c.key, _attempts.c.number)
        lines: dict[tuple[str, str, str, str], LedgerLine] = {}
        with self._database.read() as connection:
            for run, user, role, model, noun in connection.execute(rows.order_by(*in_order)):
                place = (run, user, role, model)
                lines[place] = _added(lines.get(place) or _empty_line(*place), read(Attempt, noun))
        return tuple(lines.values())


def now() -> datetime:
    """Return the time, as the journal writes it."""
    return datetime.now(UTC)


def _add_run(connection: Connection, run: Run) -> None:
    check_id("run id", run.run_id)
    if connection.scalar(select(_runs.c.run_id).where(_runs.c.run_id == run.run_id)) is not None:
        raise InputError(f"run {run.run_id!r} is recorded already: give the new one its own id")
    row = {"run_id": run.run_id, "position": next_number(connection, _runs.c.position), "noun": written(run)}
    connection.execute(insert(_runs).values(row))


def _add_end(connection: Connection, run_id: str, end: RunEnd) -> None:
    ordinal = next_number(connection, _ends.c.ordinal, _ends.c.run_id == run_id)
    connection.execute(insert(_ends).values(run_id=run_id, ordinal=ordinal, noun=written(end)))


def _of_run(run_id: str, user_key: str | None) -> Sequence[ColumnElement[bool]]:
    chosen = [_calls.c.run_id == run_id]
    return chosen if user_key is None else [*chosen, _calls.c.user_key == user_key]


def _same_call() -> ColumnElement[bool]:
    return and_(*(_calls.c[name] == _attempts.c[name] for name in ("run_id", "key", "number")))


def _empty_line(run_id: str, user_key: str, role: str, model: str) -> LedgerLine:
    return LedgerLine(
        run_id=run_id,
        user_key=user_key,
        role=role,
        model=model,
        attempts=0,
        failures=0,
        prompt_tokens=0,
        completion_tokens=0,
        dollars=0.0,
        seconds=0.0,
    )


def _added(line: LedgerLine, attempt: Attempt) -> LedgerLine:
    known = line.dollars is not None and attempt.charged.dollars is not None
    return line.model_copy(
        update={
            "attempts": line.attempts + 1,
            "failures": line.failures + (attempt.failure is not None),
            "prompt_tokens": line.prompt_tokens + attempt.prompt_tokens,
            "completion_tokens": line.completion_tokens + attempt.completion_tokens,
            "dollars": (line.dollars or 0.0) + (attempt.charged.dollars or 0.0) if known else None,
            "seconds": line.seconds + attempt.seconds,
        }
    )
