"""Rows that are held in memory, of the users whose rows were read last."""

import threading
from typing import TYPE_CHECKING

from cachetools import LRUCache

if TYPE_CHECKING:
    from .nearest import UserRows

_MOST = 20_000
"""Rows in all, some 3 kB each."""


class HeldRows:
    """The rows of some users, by user key. Threads may share it."""

    def __init__(self) -> None:
        self._rows: LRUCache[str, UserRows] = LRUCache(_MOST, getsizeof=len)
        self._lock = threading.Lock()

    def get(self, user_key: str) -> "UserRows | None":
        """Return a user's rows, if they are held."""
        with self._lock:
            return self._rows.get(user_key)

    def hold(self, user_key: str, rows: "UserRows") -> None:
        """Hold a user's rows, if they are not too many; others may have to go."""
        with self._lock:
            self._rows.pop(user_key, None)
            if len(rows) <= _MOST:
                self._rows[user_key] = rows

    def let_go(self, user_key: str) -> "UserRows | None":
        """Hold a user's rows no longer, and return them."""
        with self._lock:
            return self._rows.pop(user_key, None)

    def clear(self) -> None:
        """Hold nothing."""
        with self._lock:
            self._rows.clear()
