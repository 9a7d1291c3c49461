"""What an API key may use: calls a minute, calls and dollars a day."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil

from ..data.api_key import ApiKey, KeyLimits
from ..data.store import UsageLedger
from ..data.store.usage import Usage
from .window import MovingWindow

_MINUTE_SECONDS = 60.0


@dataclass(frozen=True)
class Refusal:
    """A call that a key may not make now."""

    retry_after_seconds: int
    """How long until it may be made, if nothing else uses the key."""
    detail: str
    """Why, in one sentence for the client."""


class Limiter:
    """Holds each key to its limits.

    Calls a minute are counted in this process alone and forgotten with it: with several workers a key may make as many
    in each. Calls and dollars a day (UTC) are counted in the store: over all workers, and over restarts.

    Args:
        ledger: Where days are counted.
        default: What a key may use that says nothing of its own. None is no limit.
        now: The time, in UTC.
        clock: Seconds that never go back, for minutes.

    Example:
        >>> refusal = limiter.take(key)
        >>> if refusal is None:
        ...     limiter.charge(key, answer(question).spend.dollars)
    """

    def __init__(
        self,
        ledger: UsageLedger,
        default: KeyLimits,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger, self._default, self._now = ledger, default, now
        self._minutes = MovingWindow(_MINUTE_SECONDS, clock)

    def take(self, key: ApiKey) -> Refusal | None:
        """Count a call that is about to be made, or say why it may not be: a refused call is not counted for the day.

        Dollars are known only after a call: those that are under way together can come to more than the limit.

        Raises:
            StorageError: The store could not be read or written.
        """
        limits = self._limits(key)
        return self._refused_by_minute(key, limits) or self._refused_by_day(key, limits)

    def charge(self, key: ApiKey, dollars: float | None) -> None:
        """Count what a call has cost.

        Args:
            key: Whose call it was.
            dollars: Its cost; None if that is not known, and then a key with a limit in dollars makes no other call on
                this day.

        Raises:
            StorageError: The store could not be written.
        """
        if self._limits(key).dollars_per_day is not None:
            self._ledger.add(key.key_id, self._now().date(), 0, dollars)

    def _limits(self, key: ApiKey) -> KeyLimits:
        own = {name: limit for name, limit in key.limits if limit is not None}
        return self._default.model_copy(update=own)

    def _refused_by_minute(self, key: ApiKey, limits: KeyLimits) -> Refusal | None:
        if (most := limits.calls_per_minute) is None:
            return None
        if (wait := self._minutes.take(key.key_id, most)) is None:
            return None
        seconds = max(1, ceil(wait))
        return Refusal(seconds, f"this key may make {most} calls a minute: try again in {seconds} s")

    def _refused_by_day(self, key: ApiKey, limits: KeyLimits) -> Refusal | None:
        if limits.calls_per_day is None and limits.dollars_per_day is None:
            return None
        now = self._now()
        used = self._ledger.of(key.key_id, now.date())
        reason = _out_of_dollars(used, limits.dollars_per_day)
        if reason is None and limits.calls_per_day is not None:
            reason = self._out_of_calls(key, now, used, limits.calls_per_day)
        return None if reason is None else Refusal(_seconds_left(now), f"{reason}: try again tomorrow (UTC)")

    def _out_of_calls(self, key: ApiKey, now: datetime, used: Usage, most: int) -> str | None:
        reason = f"this key may make {most} calls a day, and has made them"
        if used.calls >= most:
            return reason
        # Another worker may have taken the last one meanwhile: the sum that comes back decides.
        if self._ledger.add(key.key_id, now.date(), 1, 0.0).calls <= most:
            return None
        self._ledger.add(key.key_id, now.date(), -1, 0.0)
        return reason


def _out_of_dollars(used: Usage, most: float | None) -> str | None:
    if most is None:
        return None
    if used.dollars is None:
        return (
            f"this key may spend {most:g} dollars a day, and what one of its calls has cost is not known (whoever runs "
            "the server can set PERSONAAGENT_PRICE)"
        )
    return f"this key may spend {most:g} dollars a day, and has spent them" if used.dollars >= most else None


def _seconds_left(now: datetime) -> int:
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return ceil((midnight - now).total_seconds())
