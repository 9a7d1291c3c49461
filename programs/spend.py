"""What a piece of work spent: LM calls, tokens and seconds, counted where DSPy reports them."""

import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager

import dspy

from ..data.alignment import Spend


class Meter:
    """DSPy's usage tracker for one piece of work; what it counts also counts for the meter around it."""

    def __init__(self, outer: "Meter | None") -> None:
        self._outer = outer
        self._lock = threading.Lock()
        self._calls = self._prompt_tokens = self._completion_tokens = 0
        self._started = time.perf_counter()
        self._seconds: float | None = None
        self._recorded_seconds = 0.0

    def add_usage(self, lm: str, usage_entry: Mapping[str, object]) -> None:
        """Count one LM call. DSPy calls this after each of them, cache hits excepted."""
        prompt_tokens, completion_tokens = (
            value if isinstance(value := usage_entry.get(name), int) else 0
            for name in ("prompt_tokens", "completion_tokens")
        )
        with self._lock:
            self._calls += 1
            self._prompt_tokens += prompt_tokens
            self._completion_tokens += completion_tokens
        if self._outer is not None:
            self._outer.add_usage(lm, usage_entry)

    def add_recorded_seconds(self, seconds: float) -> None:
        """Count the time that a call took when it was made, where its answer now comes from a record."""
        with self._lock:
            self._recorded_seconds += seconds
        if self._outer is not None:
            self._outer.add_recorded_seconds(seconds)

    def stop(self) -> None:
        """Stop the clock."""
        self._seconds = time.perf_counter() - self._started

    @property
    def spend(self) -> Spend:
        """What has been spent until now, or until the clock was stopped."""
        return Spend(
            calls=self._calls,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens,
            seconds=self._recorded_seconds
            + (time.perf_counter() - self._started if self._seconds is None else self._seconds),
        )


@contextmanager
def measure() -> Generator[Meter]:
    """Measure the LM calls made inside, in this thread, its tasks and whatever inherits its context.

    Example:
        >>> with measure() as meter:
        ...     program(query="...")
        >>> meter.spend.calls
        3
    """
    meter = Meter(outer=dspy.settings.usage_tracker)
    with dspy.context(usage_tracker=meter):
        try:
            yield meter
        finally:
            meter.stop()
