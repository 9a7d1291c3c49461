"""Group commit: what many calls want written at once goes to disk in one transaction.

Whoever waits first writes for all: a thread that does nothing but write costs each call two changes of thread at each
of its two writes, more than the writes themselves.
"""

import asyncio
import threading
from typing import TYPE_CHECKING

from ..data.call import Attempt, Call
from ..data.errors import PersonaAgentError, SetupError

if TYPE_CHECKING:
    from ..data.store.journal import Journal


class Turn:
    """What goes to disk together."""

    def __init__(self, writer: "JournalWriter") -> None:
        self._writer = writer
        self._awaited: dict[asyncio.AbstractEventLoop, asyncio.Future[None]] = {}
        self.entries: list[Call | Attempt] = []
        self.lock = threading.Lock()
        """Held by whoever writes it. Those who wait for it are no part of the queue for the next turn."""
        self.is_over = False
        self.error: PersonaAgentError | None = None
        self.gone = frozenset[str]()
        """The keys of users who have been erased: their calls were left out."""

    def result(self) -> None:
        """Return when it is on disk.

        Raises:
            StorageError: It cannot be written.
        """
        self._writer.write(self)
        self._raise_error()

    async def aresult(self) -> None:
        """Return as `result` does, awaited; for all who await it in one event loop, one thread writes."""
        here = asyncio.get_running_loop()
        if here not in self._awaited:
            self._awaited[here] = here.run_in_executor(None, self._writer.write, self)
        await asyncio.shield(self._awaited[here])
        self._raise_error()

    def _raise_error(self) -> None:
        if self.error is not None:
            raise self.error


class JournalWriter:
    """Appends to the journal; while one turn is written, what comes gathers for the next.

    Args:
        journal: Where to append.
    """

    def __init__(self, journal: "Journal") -> None:
        self._journal = journal
        self._gathering = threading.Lock()
        self._writing = threading.Lock()
        self._next = Turn(self)
        self._closed = False

    def put(self, entry: Call | Attempt) -> Turn:
        """Have an entry written: in the turn that is returned, when somebody waits for it, or at the end.

        Raises:
            SetupError: The writer is closed.
        """
        with self._gathering:
            if self._closed:
                raise SetupError("this run is closed: begin another, or take it up again")
            self._next.entries.append(entry)
            return self._next

    def write(self, turn: Turn) -> None:
        """Write a turn, unless another thread did while this one waited for it."""
        with turn.lock:
            if turn.is_over:
                return
            with self._writing:
                with self._gathering:
                    if self._next is turn:
                        self._next = Turn(self)
                try:
                    turn.gone = self._journal.append(turn.entries)
                except PersonaAgentError as error:
                    turn.error = error
                turn.is_over = True

    def close(self) -> None:
        """Write what is left, and take nothing more."""
        with self._gathering:
            self._closed = True
            last = self._next
        if last.entries:
            self.write(last)
