"""The recorder: gives each call of a run its key, and what is recorded of it already."""

import hashlib
import json
import threading
from collections import Counter
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..data.call import NOTHING, Attempt, Call, Cost, Failure, Part
from ..data.errors import ErasedUserError, SetupError
from ..data.store.journal import now
from ..lms.prices import FREE, Price
from ..programs.scope import current_scope
from .budget import Budget, Purse
from .divergence import divergence
from .payer import Reservation, payer_here
from .writer import JournalWriter, Turn

if TYPE_CHECKING:
    from ..data.store.journal import Journal

LOST = "lost"
"""The kind of a failure that nobody saw: the process was killed, or its work cancelled, before the answer came."""


@dataclass(frozen=True)
class Line:
    """Who is called, and as what: the part of a call's key that is the same for all calls of one LM or tool."""

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
            no budget, which nobody keeps for all of them.
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
        """Whether a call that nobody pays for is refused; see `paid_by`."""
        self._lock = threading.Lock()
        self.writer = JournalWriter(journal)
        before = journal.all_attempts(run_id) if part is None else ()
        spent = sum((attempt.charged for attempt in before), start=NOTHING)
        self.purse = Purse(budget or Budget(), spent)

    def open(self, line: Line, request: str, worst: Cost) -> "OpenCall":
        """Return the call that is to be made, or was made before.

        Args:
            line: Who is called.
            request: The whole request, as JSON with its keys in order.
            worst: What the call may cost at most.

        Raises:
            DivergenceError: This is a replay, and the run made no such call.
        """
        scope = current_scope()
        identity = [self.run_id, scope.user_key, line.role, "/".join(scope.place), line.endpoint, line.account]
        alike = hashlib.sha256(json.dumps([*identity, line.model, request]).encode()).hexdigest()
        with self._lock:
            self._ordinals[alike] += 1
            ordinal = self._ordinals[alike]
        call = Call(
            run_id=self.run_id,
            key=hashlib.sha256(f"{alike} {ordinal}".encode()).hexdigest(),
            user_key=scope.user_key,
            role=line.role,
            place="/".join(scope.place),
            endpoint=line.endpoint,
            model=line.model,
            ordinal=ordinal,
            request=request,
            worst=worst,
            at=now(),
        )
        return OpenCall(self, call, *self._before.get(call.key, (0, False)))

    def count_repeated(self) -> None:
        """Count a call that was answered from the journal."""
        with self._lock:
            self.repeated += 1

    def close(self) -> None:
        """Write what is left."""
        self.writer.close()


class OpenCall:
    """One call from its beginning to its end, attempts included."""

    def __init__(self, recorder: Recorder, call: Call, attempts: int, answered: bool) -> None:
        self._recorder, self._call, self._attempts = recorder, call, attempts
        self._answered = answered
        self._begun: Turn | None = None
        self._reservation: Reservation | None = None

    def recorded(self, *, failed_too: bool = False) -> Attempt | None:
        """Return how the call ended when it was made before; None if it is to be made.

        Args:
            failed_too: Whether a call that failed is not made again; in a replay none is.

        Raises:
            DivergenceError: This is a replay, and the run made no such call.
        """
        replay = self._recorder.replay
        if self._answered or (self._attempts and (failed_too or replay)):
            last = self._recorder.journal.last_attempt(self._call.run_id, self._call.key)
            if last is not None and (last.failure is None or last.failure.kind != LOST):
                self._recorder.count_repeated()
                return last
        if replay:
            raise divergence(self._recorder.journal, self._call)
        return None

    def reserve(self) -> "Future[None]":
        """Set aside what the call may cost, with whoever pays and in the purse; see `Purse.reserve`.

        Raises:
            LimitError: Whoever pays may not make the call.
            SetupError: Nobody pays, where somebody must.
        """
        payer = payer_here()
        if payer is not None:
            self._reservation = payer.reserve(self._call.worst)
        elif self._recorder.needs_payer:
            raise SetupError("a call to the LM would be made that no API key pays for")
        reserved = self._recorder.purse.reserve(self._call.worst)
        reserved.add_done_callback(lambda allowed: self._settle(NOTHING) if allowed.exception() else None)
        return reserved

    def begin(self) -> Turn:
        """Write down that another attempt is made."""
        self._attempts += 1
        self._call = self._call.model_copy(update={"number": self._attempts})
        self._begun = self._recorder.writer.put(self._call)
        return self._begun

    def stop_if_gone(self) -> None:
        """Go on, unless the user for whom the call was begun has been erased.

        Raises:
            ErasedUserError: The user has.
        """
        if self._begun is not None and self._begun.gone and self._call.user_key in self._begun.gone:
            raise ErasedUserError

    def end(self, response: str, prompt_tokens: int, completion_tokens: int, charged: Cost, seconds: float) -> Turn:
        """Write down the response."""
        tokens = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
        return self._end(_attempt(self._call, charged, seconds, response=response, **tokens))

    def fail(self, failure: Failure, charged: Cost, seconds: float) -> Turn:
        """Write down that there is no response."""
        return self._end(_attempt(self._call, charged, seconds, failure=failure))

    def give_up(self) -> None:
        """Write down that whoever made the call went away before the response came."""
        self._end(_lost(self._call, "given up before its answer came"))

    @property
    def worst(self) -> Cost:
        """What an attempt may cost at most."""
        return self._call.worst

    def _end(self, attempt: Attempt) -> Turn:
        written = self._recorder.writer.put(attempt)
        self._recorder.purse.settle(self._call.worst, attempt.charged)
        self._settle(attempt.charged)
        return written

    def _settle(self, charged: Cost) -> None:
        reservation, self._reservation = self._reservation, None
        if reservation is not None:
            reservation.settle(charged)


def _lost(call: Call, why: str) -> Attempt:
    failure = Failure(kind=LOST, message=f"{why}; counted at its worst case")
    return _attempt(call, call.worst, 0.0, failure=failure)


def _attempt(call: Call, charged: Cost, seconds: float, **outcome: Any) -> Attempt:
    made: dict[str, Any] = {"response": None, **outcome}
    identity = {"run_id": call.run_id, "key": call.key, "number": call.number}
    return Attempt.model_validate({**identity, "charged": charged, "seconds": seconds, "at": now(), **made})


recorder_here: ContextVar[Recorder | None] = ContextVar("personaagent_recorder", default=None)
"""The recorder of the run that is going on here; tools of the outer world ask for it."""
