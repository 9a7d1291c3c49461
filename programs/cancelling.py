"""Cancelling work in another thread: it begins no further call, and a call that takes too long is cut off.

cancellation = Cancellation()
with cancellation.inside():  # In one thread.
    program(query="...")
cancellation.cancel()  # In another.
"""

import contextvars
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

from ..data.errors import StoppedError

_here: contextvars.ContextVar["Cancellation | None"] = contextvars.ContextVar("cancellation", default=None)


class Cancellation:
    """Cancels the work that runs inside of it. Threads may share it."""

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
        token = _here.set(self)
        try:
            yield
        finally:
            _here.reset(token)

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
        """Raise if the work was cut off.

        Raises:
            StoppedError: It was.
        """
        if self.is_cut:
            raise StoppedError("this work was cut off: it records nothing more")

    def stop_if_cancelled(self, after_seconds: float = 0) -> None:
        """Raise if the work is cancelled now, or within some seconds, which this waits.

        Raises:
            StoppedError: It is.
        """
        if self._cancelled.wait(after_seconds) if after_seconds else self._cancelled.is_set():
            raise StoppedError("this work was cancelled: it makes no more calls and records nothing more")


def cancellation_here() -> Cancellation:
    """Return the cancellation of the work that runs here; a new one, which is never cancelled, if there is none."""
    return _here.get() or Cancellation()
