"""A circuit breaker: a service that does not answer holds up few, and is then left alone for a while."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

from ..errors import StorageError

_AT_ONCE = 8
_LONGEST_QUEUE_SECONDS = 0.5
_SLOW_SECONDS = 1.0
_LEFT_ALONE_SECONDS = 15.0


class CircuitBreaker:
    """Lets a few at once ask a service, and after a slow failure one every while. Threads may share it.

    Args:
        name: The service's, in errors.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._slots = threading.BoundedSemaphore(_AT_ONCE)
        self._guard = threading.Lock()
        self._again_at = 0.0

    @contextmanager
    def closed(self) -> Generator[None]:
        """Ask the service while the block runs.

        Raises:
            StorageError: It is left alone, or as many as may ask it already.
        """
        self._look()
        if not self._slots.acquire(timeout=_LONGEST_QUEUE_SECONDS):
            raise StorageError(f"{self._name} is slow, and {_AT_ONCE} wait for it already: try again later")
        began = time.monotonic()
        try:
            yield
        except StorageError:
            if time.monotonic() - began >= _SLOW_SECONDS:
                self._again_at = time.monotonic() + _LEFT_ALONE_SECONDS
            raise
        else:
            self._again_at = 0.0
        finally:
            self._slots.release()

    def _look(self) -> None:
        """Go on if the service answers as far as is known, or if it is time that one looks whether it does again."""
        with self._guard:
            now = time.monotonic()
            if now < self._again_at:
                raise StorageError(f"{self._name} did not answer, and is left alone for some seconds: try again later")
            if self._again_at:
                self._again_at = now + _LEFT_ALONE_SECONDS
