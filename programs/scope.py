"""What goes with a piece of work: its user and place, its cancellation, and its spend.

All of it follows the work into its tasks and into threads that inherit their context, as DSPy's own settings do.
"""

import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import dspy

from ..data.alignment import Spend
from ..data.errors import StoppedError


class Scope(NamedTuple):
    """A user and a place in the work: they tell apart LM calls that say the same."""

    user_key: str = ""
    place: tuple[str, ...] = ()
    is_stored: bool = True
    """Whether the user is one of the store, who may be erased; the users of an evaluation are those of its files."""


_NOWHERE = Scope()
_current: ContextVar[Scope] = ContextVar("personaagent_scope", default=_NOWHERE)


def current_scope() -> Scope:
    """Return the scope of the work that runs here."""
    return _current.get()


@contextmanager
def within(*place: str, user_key: str | None = None, is_stored: bool | None = None) -> Generator[None]:
    """Run the block as this part of the work, and for this user if one is named, who is stored or is not."""
    outer = _current.get()
    inner = Scope(
        outer.user_key if user_key is None else user_key,
        (*outer.place, *place),
        outer.is_stored if is_stored is None else is_stored,
    )
    token = _current.set(inner)
    try:
        yield
    finally:
        _current.reset(token)


_cancellation: ContextVar["Cancellation | None"] = ContextVar("personaagent_cancellation", default=None)


class Cancellation:
    """Cancels the work that runs inside of it: no further call is begun. Threads may share it.

    Raises:
        StoppedError: Of the methods `stop_if_...`: the work is to stop.
    """

    def __init__(self) -> None:
        self._cancelled = threading.Event()
        self._guard = threading.Lock()
        self._cuts: set[Callable[[], object]] = set()
        self.is_cut = False
        """Whether the call under way was cut off too."""

    def cancel(self) -> None:
        """Let the work begin no further call. The one under way goes on: it is paid for, and is recorded."""
        self._cancelled.set()

    def cut(self) -> None:
        """Cancel, and cut off the call under way: its answer is not waited for."""
        self.cancel()
        with self._guard:
            self.is_cut, cuts = True, tuple(self._cuts)
        for cut in cuts:
            cut()

    @contextmanager
    def inside(self) -> Generator[None]:
        """Run the block as work that this cancels."""
        token = _cancellation.set(self)
        try:
            yield
        finally:
            _cancellation.reset(token)

    @contextmanager
    def cutting(self, cut: Callable[[], object]) -> Generator[None]:
        """Call `cut` if the work is cut off while the block runs."""
        with self._guard:
            self._cuts.add(cut)
            is_cut = self.is_cut
        try:
            if is_cut:
                cut()
            yield
        finally:
            with self._guard:
                self._cuts.discard(cut)

    def stop_if_cut(self) -> None:
        """Raise if the work was cut off."""
        if self.is_cut:
            raise StoppedError("this work was cut off: it records nothing more")

    def stop_if_cancelled(self, after_seconds: float = 0) -> None:
        """Raise if the work is cancelled now, or within some seconds, which this waits."""
        if self._cancelled.wait(after_seconds) if after_seconds else self._cancelled.is_set():
            raise StoppedError("this work was cancelled: it makes no more calls and records nothing more")


def cancellation_here() -> Cancellation:
    """Return the cancellation of the work that runs here; a new one, which is never cancelled, if there is none."""
    return _cancellation.get() or Cancellation()


class Meter:
    """DSPy's usage tracker for one piece of work; what it counts also counts for the meter around it."""

    def __init__(self, outer: "Meter | None") -> None:
        self._outer = outer
        self._lock = threading.Lock()
        self._calls = self._prompt_tokens = self._completion_tokens = 0
        self._started = time.perf_counter()
        self._stopped: float | None = None
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
        if self._outer:
            self._outer.add_usage(lm, usage_entry)

    def add_recorded_seconds(self, seconds: float) -> None:
        """Count the time that a call took when it was made, where its answer now comes from a record."""
        with self._lock:
            self._recorded_seconds += seconds
        if self._outer is not None:
            self._outer.add_recorded_seconds(seconds)

    def stop(self) -> None:
        """Stop the clock."""
        self._stopped = time.perf_counter()

    @property
    def spend(self) -> Spend:
        """What has been spent until now, or until the clock was stopped."""
        seconds = self._recorded_seconds + (self._stopped or time.perf_counter()) - self._started
        return Spend(
            calls=self._calls,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens,
            seconds=seconds,
        )


@contextmanager
def measure() -> Generator[Meter]:
    """Measure the LM calls made inside, in this thread, its tasks and whatever inherits its context."""
    meter = Meter(outer=dspy.settings.usage_tracker)
    with dspy.context(usage_tracker=meter):
        try:
            yield meter
        finally:
            meter.stop()
