"""Group commit: what many calls want written at once goes to disk in one transaction."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

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
        self._gathered: list[Call | Attempt] = []
        self._written = _new_promise()
        self._something = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._write_until_closed, name="call-journal", daemon=True)
        self._thread.start()

    def put(self, entry: Call | Attempt) -> "Future[None]":
        """Have an entry written. It is on disk when the future is done; what is written in one turn shares the future.

        Raises:
            SetupError: The writer is closed.
        """
        with self._something:
            if self._closed:
                raise SetupError("this run is closed: begin another, or take it up again")
            self._gathered.append(entry)
            self._something.notify()
            return self._written

    def close(self) -> None:
        """Write what is left and end the thread."""
        with self._something:
            self._closed = True
            self._something.notify()
        self._thread.join()

    def _write_until_closed(self) -> None:
        while True:
            batch, written = self._next_turn()
            if not batch:
                break
            self._write(batch, written)

    def _next_turn(self) -> "tuple[Sequence[Call | Attempt], Future[None]]":
        with self._something:
            self._something.wait_for(lambda: self._gathered or self._closed)
            turn = self._gathered, self._written
            self._gathered, self._written = [], _new_promise()
            return turn

    def _write(self, batch: "Sequence[Call | Attempt]", written: "Future[None]") -> None:
        try:
            self._journal.append(batch)
        except PersonaAgentError as error:
            written.set_exception(error)
        else:
            written.set_result(None)


_awaited: "WeakKeyDictionary[Future[None], tuple[asyncio.AbstractEventLoop, asyncio.Event]]" = WeakKeyDictionary()


async def done(promise: "Future[None]") -> None:
    """Wait for what another thread does. All who wait for the same in one event loop are woken by one call."""
    if not promise.done():
        await _event(promise).wait()
    return promise.result()


def _event(promise: "Future[None]") -> asyncio.Event:
    here = asyncio.get_running_loop()
    loop, event = _awaited.get(promise, (None, None))
    if event is None or loop is not here:
        event = asyncio.Event()
        _awaited[promise] = here, event
        promise.add_done_callback(partial(_wake, here, event))
    return event


def _wake(loop: asyncio.AbstractEventLoop, event: asyncio.Event, _promise: object) -> None:
    with suppress(RuntimeError):  # The loop is closed, and nobody waits there any more.
        loop.call_soon_threadsafe(event.set)


def _new_promise() -> "Future[None]":
    promise: Future[None] = Future()
    promise.set_running_or_notify_cancel()  # What is asked for once is written, whoever still waits for it.
    return promise
