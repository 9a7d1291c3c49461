"""What an API key may use: requests and questions a minute, calls and dollars a day."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from cachetools import TTLCache

from ..data.api_key import ApiKey, KeyLimits
from ..data.call import NOTHING, Cost
from ..data.errors import LimitError
from ..data.store import UsageLedger
from ..data.store.keys import Usage

_MINUTE_SECONDS = 60.0


class Limiter:
    """Holds each key to its limits.

    Requests and questions a minute are counted in this process alone and forgotten with it: with several workers a key
    may make as many in each. Calls to the LM and dollars a day (UTC) are counted in the store: over all workers, and
    over restarts. Each call is counted before it is made, at what it may cost at most, and corrected after it. A call
    that was under way when its process was killed stays counted so.

    Every method raises `LimitError` if a limit of the key is reached, `payer` when it is to pay.

    Args:
        ledger: Where days are counted.
        default: What a key may use that says nothing of its own. None is no limit.
        least: What any call may cost, however short its prompt.
        now: The time, in UTC.
        clock: Seconds that never go back, for minutes.
    """

    def __init__(
        self,
        ledger: UsageLedger,
        default: KeyLimits,
        *,
        least: Cost = NOTHING,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger, self._default, self._least, self._now = ledger, default, least, now
        self._requests = MovingWindow(_MINUTE_SECONDS, clock)
        self._questions = MovingWindow(_MINUTE_SECONDS, clock)

    def admit(self, key: ApiKey) -> None:
        """Count a request of any kind."""
        _take(self._requests, key, self._limits(key).requests_per_minute, "requests")

    def take(self, key: ApiKey) -> None:
        """Count a request that asks the LM, if the key can pay for another call today."""
        _take(self._questions, key, self._limits(key).calls_per_minute, "calls")
        self.check(key)

    def check(self, key: ApiKey) -> None:
        """Return if a key can pay for another call to the LM today; nothing is counted."""
        limits, now = self._limits(key), self._now()
        if limits.is_metered:
            used = self._ledger.of(key.key_id, now.date())
            if (reason := _refusal(limits, used, self._least)) is not None:
                raise _until_tomorrow(reason, now)

    def payer(self, key: ApiKey) -> "KeyPayer":
        """Return what pays for the calls to the LM that are made for a key."""
        return KeyPayer(self._ledger, key.key_id, self._limits(key), self._now)

    def _limits(self, key: ApiKey) -> KeyLimits:
        own = {name: limit for name, limit in key.limits if limit is not None}
        return self._default.model_copy(update=own)


@dataclass(frozen=True)
class KeyPayer:
    """Pays for calls out of what a key may use in a day; its methods are those of `journal.budget.Payer`."""

    ledger: UsageLedger
    key_id: str
    limits: KeyLimits
    now: Callable[[], datetime]

    def reserve(self, worst: Cost) -> "_Reservation":
        """Set aside what a call may cost at most; of a key without limits nothing is set aside."""
        now, limits = self.now(), self.limits
        day, most_dollars = now.date(), limits.dollars_per_day
        dollars = 0.0 if most_dollars is None else worst.dollars
        if limits.is_metered and (
            dollars is None or not self.ledger.reserve(self.key_id, day, dollars, limits.calls_per_day, most_dollars)
        ):
            refusal = _refusal(limits, self.ledger.of(self.key_id, day), worst)
            raise _until_tomorrow(refusal or _out_of_dollars(most_dollars), now)
        return _Reservation(self, day, dollars or 0.0)


class _Reservation(NamedTuple):
    """What is set aside of a key's day for one call."""

    payer: KeyPayer
    day: date
    dollars: float

    def settle(self, charged: Cost) -> None:
        payer, limits = self.payer, self.payer.limits
        dollars = 0.0 if limits.dollars_per_day is None else (charged.dollars or 0.0) - self.dollars
        if limits.is_metered and (charged.calls != 1 or dollars):
            payer.ledger.add(payer.key_id, self.day, charged.calls - 1, dollars)


def _take(window: "MovingWindow", key: ApiKey, most: int | None, what: str) -> None:
    if most is None or (wait := window.take(key.key_id, most)) is None:
        return
    seconds = max(1, math.ceil(wait))
    raise LimitError(seconds, f"this key may make {most} {what} a minute: try again in {seconds} s")


def _refusal(limits: KeyLimits, used: Usage, worst: Cost) -> str | None:
    """Return why a key that has used so much may not make a call; None if it may."""
    most = limits.dollars_per_day
    if limits.calls_per_day is not None and used.calls >= limits.calls_per_day:
        return f"this key may make {limits.calls_per_day} calls a day, and has made them"
    if most is None:
        return None
    if used.dollars is None or worst.dollars is None:
        return (
            f"this key may spend {most:g} dollars a day, and what a call costs is not known (whoever runs the server "
            "can set PERSONAAGENT_PRICE)"
        )
    return _out_of_dollars(most) if used.dollars >= most or used.dollars + worst.dollars > most else None


def _out_of_dollars(most: float | None) -> str:
    return f"this key may spend {most or 0:g} dollars a day, and the next call may cost more than is left"


def _until_tomorrow(reason: str, now: datetime) -> LimitError:
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return LimitError(math.ceil((midnight - now).total_seconds()), f"{reason}: try again tomorrow (UTC)")


class MovingWindow:
    """Counts the events of the last `seconds` in this process. Threads may share it."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds, self._clock, self._lock = seconds, clock, threading.Lock()
        self._events: TTLCache[str, deque[float]] = TTLCache(math.inf, seconds, clock)
        """By key, when its events were; forgotten when the last of them is out of the window."""

    def __len__(self) -> int:
        return len(self._events)

    def take(self, key: str, most: int) -> float | None:
        """Count an event of a key, or return the seconds until it may be: the window holds `most` of its events."""
        with self._lock:
            now = self._clock()
            events = self._events.get(key, deque())
            while events and events[0] <= now - self._seconds:
                events.popleft()
            if len(events) >= most:
                return events[0] + self._seconds - now if events else self._seconds
            events.append(now)
            self._events[key] = events
            return None
