"""The worker processes of one server: which are alive, and what only one thread of all of them may do at a time."""

import threading
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from weakref import WeakValueDictionary

from ..data.store import Store

_RETRY_SECONDS = 2.0
"""How long a worker that lost its name, with the connection to the database, has to take it again."""


class Workers:
    """The worker processes that share a store; `alone`, this is the only one, and the store may be in SQLite.

    Every method raises `StorageError` if the database cannot be reached.
    """

    def __init__(self, store: Store, *, alone: bool) -> None:
        self._store, self._alone = store, alone
        self._locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._guard = threading.Lock()

    @contextmanager
    def lock(self, name: str) -> Generator[None]:
        """Let one thread of all workers at a time into blocks of this name."""
        with self._guard:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock, nullcontext() if self._alone else self._store.database.alone(name):
            yield

    def registered(self, run_id: str) -> AbstractContextManager[object]:
        """Show the others that the worker of this run is alive, as long as the block runs."""
        return nullcontext() if self._alone else self._store.database.kept(_name_of(run_id))

    def is_alive(self, run_id: str) -> bool:
        """Return whether another worker is alive. One that is not found is looked for again 2 s later."""
        if self._alone:
            return False
        if self._store.database.is_held(_name_of(run_id)):
            return True
        time.sleep(_RETRY_SECONDS)
        return self._store.database.is_held(_name_of(run_id))


def _name_of(run_id: str) -> str:
    return f"worker {run_id}"
