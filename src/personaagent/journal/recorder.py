"""The recorder: gives each call of a run its key, finds what is recorded of it already, and writes down the rest."""

import difflib
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ..data.call import NOTHING, Attempt, Call, Cost, Failure, Part, as_written
from ..data.errors import DivergenceError, ErasedUserError, PersonaAgentError, SetupError
from ..data.store.journal import now
from ..programs.scope import current_scope
from .budget import FREE, Budget, Price, Purse, Reservation, payer_here

if TYPE_CHECKING:
    from ..data.store.journal import Journal

_MOST_LINES = 60
"""Of a prompt that differs from the recorded one."""
LOST = "lost"
"""The kind of a failure that was not seen: the process was killed, or its work cancelled, before the answer came."""


@dataclass(frozen=True)
class Callee:
    """What is called, and in which role: the part of a call's key that is the same for all calls of one LM or tool."""

    role: str
    endpoint: str
    model: str
    account: str = ""
    """Tells one account at the endpoint from another."""
    price: Price | None = FREE


class Recorder:
    """Everything that a run's calls share: its journal, its purse, what it has recorded before.

    Args:
        journal: Where calls are recorded.
        run_id: The run, which has begun.
        budget: What the run may spend in all.
        replay: Whether nothing may be called: every answer must be recorded.
        part: What of the run is done here, where other processes do the rest: their calls are left alone, and there is
            no budget, since no process knows what the others spend.
    """

    def __init__(
        self,
        journal: "Journal",
        run_id: str,
        budget: Budget | None = None,
        *,
        replay: bool = False,
        part: Part | None = None,
    ) -> None:
        self.journal, self.run_id, self.replay = journal, run_id, replay
        user_key = part and part.user_key
        if not replay:
            lost = [call for call in journal.lost(run_id, user_key=user_key) if part is None or part.holds(call)]
            journal.append([_lost(call, "under way when its process was killed") for call in lost])
        self._before = journal.attempts(run_id, user_key=user_key)
        self._ordinals: Counter[str] = Counter()
        self.repeated = 0
        """Calls that were answered from the journal."""
        self.needs_payer = False
        """Whether a call without a payer is refused; see `paid_by`."""
        self.lock = threading.Lock()
        self._writer, self._writer_of_files = JournalWriter(journal), JournalWriter(journal.of_anyone())
        before = journal.all_attempts(run_id) if part is None else ()
        spent = sum((attempt.charged for attempt in before), start=NOTHING)
        self.purse = Purse(budget or Budget(), spent)

    def open(self, callee: Callee, request: str, worst: Cost) -> "OpenCall":
        """Return the call that is to be made, or was made before; the request is JSON with its keys in order."""
        scope = current_scope()
        place = "/".join(scope.place)
        identity = [self.run_id, scope.user_key, callee.role, place, callee.endpoint, callee.account]
        alike = hashlib.sha256(json.dumps([*identity, callee.model, request]).encode()).hexdigest()
        with self.lock:
            self._ordinals[alike] += 1
            ordinal = self._ordinals[alike]
        call = Call(
            run_id=self.run_id,
            key=hashlib.sha256(f"{alike} {ordinal}".encode()).hexdigest(),
            user_key=scope.user_key,
            role=callee.role,
            place=place,
            endpoint=callee.endpoint,
            model=callee.model,
            ordinal=ordinal,
            request=request,
            worst=worst,
            at=now(),
        )
        writer = self._writer if scope.is_stored else self._writer_of_files
        return OpenCall(self, writer, call, *self._before.get(call.key, (0, False)))

    def close(self) -> None:
        """Write what is left, and take nothing more."""
        self._writer.close()
        self._writer_of_files.close()


class OpenCall:
    """One call from its beginning to its end, attempts included."""

    def __init__(self, recorder: Recorder, writer: "JournalWriter", call: Call, attempts: int, answered: bool) -> None:
        self._recorder, self._writer, self._call, self._attempts = recorder, writer, call, attempts
        self._answered = answered
        self._reservation: Reservation | None = None

    @property
    def worst(self) -> Cost:
        """What an attempt may cost at most."""
        return self._call.worst

    def recorded(self, *, failed_too: bool = False) -> Attempt | None:
        """Return how the call ended when it was made before; None if it is to be made.

        A call that failed is made again, unless `failed_too` or in a replay.

        Raises:
            DivergenceError: This is a replay, and the run made no such call.
        """
        replay = self._recorder.replay
        if self._answered or (self._attempts and (failed_too or replay)):
            last = self._recorder.journal.last_attempt(self._call.run_id, self._call.key)
            if last is not None and (last.failure is None or last.failure.kind != LOST):
                with self._recorder.lock:
                    self._recorder.repeated += 1
                return last
        if replay:
            raise _divergence(self._recorder.journal, self._call)
        return None

    def reserve(self) -> None:
        """Set aside what the call may cost, with its payer and in the purse; wait until it fits.

        Raises:
            BudgetError: The budget does not allow the call.
            LimitError: The payer may not make the call.
            SetupError: The call has no payer, where it must have one.
        """
        payer = payer_here()
        if payer is not None:
            self._reservation = payer.reserve(self.worst)
        elif self._recorder.needs_payer:
            raise SetupError("a call to the LM would be made that no API key pays for")
        try:
            self._recorder.purse.reserve(self.worst)
        except BaseException:
            self._settle(NOTHING)
            raise

    def begin(self) -> None:
        """Write down that another attempt is made."""
        self._attempts += 1
        self._call = self._call.model_copy(update={"number": self._attempts})
        batch = self._writer.put(self._call)
        batch.wait()
        if self._call.user_key in batch.erased:
            raise ErasedUserError

    def end(self, response: str, charged: Cost, seconds: float, prompt_tokens: int = 0, answer_tokens: int = 0) -> None:
        """Write down the response."""
        tokens = {"prompt_tokens": prompt_tokens, "completion_tokens": answer_tokens}
        self._end(_attempt(self._call, charged, seconds, response=response, **tokens)).wait()

    def fail(self, failure: Failure, charged: Cost, seconds: float) -> None:
        """Write down that there is no response."""
        self._end(_attempt(self._call, charged, seconds, failure=failure)).wait()

    def give_up(self) -> None:
        """Have it written down, some time, that the response was not waited for."""
        self._end(_lost(self._call, "given up before its answer came"))

    def _end(self, attempt: Attempt) -> "Batch":
        batch = self._writer.put(attempt)
        self._recorder.purse.settle(self.worst, attempt.charged)
        self._settle(attempt.charged)
        return batch

    def _settle(self, charged: Cost) -> None:
        reservation, self._reservation = self._reservation, None
        if reservation is not None:
            reservation.settle(charged)


def _lost(call: Call, why: str) -> Attempt:
    failure = Failure(kind=LOST, message=f"{why}; counted at its worst case")
    return _attempt(call, call.worst, 0.0, failure=failure)


def _attempt(call: Call, charged: Cost, seconds: float, **outcome: Any) -> Attempt:
    identity = {"run_id": call.run_id, "key": call.key, "number": call.number}
    made = {"charged": charged, "seconds": seconds, "at": now(), "response": None, **outcome}
    return Attempt.model_validate({**identity, **made})


recorder_here: ContextVar[Recorder | None] = ContextVar("personaagent_recorder", default=None)
"""The recorder of the run that is going on here; tools of the outer world ask for it."""


class JournalWriter:
    """Group commit: what many calls want written at once goes to disk in one transaction.

    While one batch is written, what comes is collected in the next. The first thread that waits for a batch writes it
    for all: a thread that does nothing but write would cost each call two changes of thread at each of its two writes,
    more than the writes themselves.
    """

    def __init__(self, journal: "Journal") -> None:
        self._journal = journal
        self._changed = threading.Condition()
        self._next = Batch(self)
        self._is_writing = self._is_closed = False

    def put(self, entry: Call | Attempt) -> "Batch":
        """Have an entry written: in the batch that is returned, when a thread waits for it, or at the end."""
        with self._changed:
            if self._is_closed:
                raise SetupError("this run is closed: begin another, or take it up again")
            self._next.entries.append(entry)
            return self._next

    def write(self, batch: "Batch") -> None:
        """Write a batch, unless another thread did while this one waited for its turn."""
        with self._changed:
            self._changed.wait_for(lambda: batch.is_over or not self._is_writing)
            if batch.is_over:
                return
            self._is_writing = True
            if self._next is batch:
                self._next = Batch(self)
        try:
            batch.erased = self._journal.append(batch.entries)
            batch.is_over = True
        except PersonaAgentError as error:
            batch.error, batch.is_over = error, True
        finally:
            with self._changed:
                self._is_writing = False
                self._changed.notify_all()

    def close(self) -> None:
        """Write what is left, and take nothing more."""
        with self._changed:
            self._is_closed, last = True, self._next
        if last.entries:
            self.write(last)


class Batch:
    """What goes to disk together."""

    def __init__(self, writer: JournalWriter) -> None:
        self._writer = writer
        self.entries: list[Call | Attempt] = []
        self.is_over = False
        self.error: PersonaAgentError | None = None
        self.erased = frozenset[str]()
        """The keys of users who have been erased: their calls were left out."""

    def wait(self) -> None:
        """Return when it is on disk."""
        self._writer.write(self)
        if self.error is not None:
            raise self.error


def _divergence(journal: "Journal", call: Call) -> DivergenceError:
    """Return the error that shows how `call` differs from the most similar call that its run made in that place."""
    where = f"run {call.run_id}, {call.place or 'outside any place'}, {call.role}"
    same_place = [recorded for recorded in journal.calls(call.run_id) if _place(recorded) == _place(call)]
    if not same_place:
        prompt = "\n".join(_lines(call)[:_MOST_LINES])
        return DivergenceError(f"{where}: the replay makes a call that the run never made here; it asks:\n{prompt}")
    now = _lines(call)
    nearest = max(same_place, key=lambda recorded: difflib.SequenceMatcher(None, _lines(recorded), now).ratio())
    difference = _difference(nearest, call)
    return DivergenceError(f"{where}: the replay diverges here; recorded (-) and now (+):\n{difference}")


def _place(call: Call) -> tuple[str, str, str]:
    return call.user_key, call.role, call.place


def _difference(recorded: Call, replayed: Call) -> str:
    lines = list(difflib.unified_diff(_lines(recorded), _lines(replayed), "recorded", "now", lineterm="", n=1))
    if not lines:
        return f"the prompt is the same, but not who is asked: {_asked(recorded)}, now {_asked(replayed)}"
    return "\n".join(lines[:_MOST_LINES])


def _asked(call: Call) -> str:
    return f"{as_written(call.model)} at {call.endpoint} (call {call.ordinal})"


def _lines(call: Call) -> Sequence[str]:
    return [line for text in _texts(json.loads(call.request)) for line in text.splitlines()]


def _texts(value: Any) -> list[str]:
    """Return every text in a request, in order; a line of its own for anything else that it sets."""
    if isinstance(value, list):
        return [text for item in cast("list[Any]", value) for text in _texts(item)]
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value).items()
        return [text for name, item in fields for text in ([f"{name}: {item}"] if _is_plain(item) else _texts(item))]
    return [str(value)]


def _is_plain(value: object) -> bool:
    return not isinstance(value, str | list | dict)
