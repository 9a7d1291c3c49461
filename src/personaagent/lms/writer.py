"""Group commit: what many calls want written at once goes to disk in one transaction."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from ..data.call import Attempt, Call
from ..data.errors import PersonaAgentError, SetupError

if TYPE_CHECKING:
    from ..data.store.journal import Journal


class JournalWriter:
    """Appends to the journal from one thread; while it waits for the disk, what comes gathers for the next turn.

    Args:
        journal: Where to append.
    """

    def __init__(self, journal: "Journal") -> None:
        self._journal = journal
        self._gathered: list[tuple[Call | Attempt, Future[None]]] = []
        self._something = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._write_until_closed, name="call-journal", daemon=True)
        self._thread.start()

    def put(self, entry: Call | Attempt) -> "Future[None]":
        """Have an entry written. It is on disk when the future is done.

        Raises:
            SetupError: The writer is closed.
        """
        written: Future[None] = Future()
        written.set_running_or_notify_cancel()  # What is asked for once is written, whoever still waits for it.
        with self._something:
            if self._closed:
                raise SetupError("this run is closed: begin another, or take it up again")
            self._gathered.append((entry, written))
            self._something.notify()
        return written

    def close(self) -> None:
        """Write what is left and end the thread."""
        with self._something:
            self._closed = True
            self._something.notify()
        self._thread.join()

    def _write_until_closed(self) -> None:
        while batch := self._next_batch():
            self._write(batch)

    def _next_batch(self) -> "Sequence[tuple[Call | Attempt, Future[None]]]":
        with self._something:
            self._something.wait_for(lambda: self._gathered or self._closed)
            batch, self._gathered = self._gathered, []
            return batch

    def _write(self, batch: "Sequence[tuple[Call | Attempt, Future[None]]]") -> None:
        try:
            self._journal.append([entry for entry, _ in batch])
        except PersonaAgentError as error:
            for _, written in batch:
                written.set_exception(error)
        else:
            for _, written in batch:
                written.set_result(None)
