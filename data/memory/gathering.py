"""Work that threads ask for at the same time, done for all of them at once."""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

Wanted = TypeVar("Wanted")
Result = TypeVar("Result")


class Gathered(Generic[Wanted, Result]):
    """What is wanted while some of it is being done is done together next, by whoever has waited longest.

    Args:
        do: Returns the results of what is wanted, in order.
        most: How much is done at once.
    """

    def __init__(self, do: Callable[[Sequence[Wanted]], Iterable[Result]], most: int) -> None:
        self._do, self._most = do, most
        self._next = _Batch[Wanted, Result]()
        self._gathering, self._doing = threading.Lock(), threading.Lock()

    def get(self, wanted: Wanted) -> Result:
        """Return the result of what one thread wants; raises what doing it raises."""
        with self._gathering:
            batch, place = self._next, len(self._next.wanted)
            batch.wanted.append(wanted)
            if len(batch.wanted) == self._most:
                self._next = _Batch[Wanted, Result]()
        with batch.lock:
            if batch.results is None:
                with self._doing:
                    with self._gathering:
                        if self._next is batch:
                            self._next = _Batch[Wanted, Result]()
                    batch.results = list(self._do(batch.wanted))  # If it fails, the next of this batch tries again.
        return batch.results[place]


class _Batch(Generic[Wanted, Result]):
    def __init__(self) -> None:
        self.wanted: list[Wanted] = []
        self.results: list[Result] | None = None
        self.lock = threading.Lock()
        """Held by whoever does it. Those who wait for it are no part of the queue for the next batch."""
