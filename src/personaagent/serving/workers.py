"""The worker processes of one server: which are alive, and what only one of them may do at a time."""

import time
from contextlib import AbstractContextManager, nullcontext

from ..data.store import Store

_RETRY_SECONDS = 2.0
"""How long a worker that lost its name, with the connection to the database, has to take it again."""


class Workers:
    """The worker processes that share a store.

    Args:
        store: What they share.
        alone: Whether this process is the only one. The store, which may then be in SQLite, is not asked.

    Raises:
        StorageError: Every method: the database cannot be reached.
    """

    def __init__(self, store: Store, *, alone: bool) -> None:
        self._store, self._alone = store, alone

    def lock(self, name: str) -> AbstractContextManager[object]:
        """Let one worker at a time into blocks of this name."""
        return nullcontext() if self._alone else self._store.database.alone(name)

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
