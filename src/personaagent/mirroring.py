"""The copy of users' personas in MLflow, which nobody makes while somebody else erases it."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from .data.errors import UnknownUserError
from .data.store import Store, User

if TYPE_CHECKING:
    from .optimizers.tracking import Erased, PersonaTracker

_AT_ONCE = 16


class Mirror:
    """Copies personas to MLflow and erases them there, for each user one after the other.

    Args:
        store: Whose users.
        lock: The file by which processes of one home take turns; without one, they do through the store.
    """

    def __init__(self, store: Store, lock: Path | None) -> None:
        self._store, self._lock = store, lock
        self._turns = [Lock() for _ in range(_AT_ONCE)]

    def sync(self, user: User, tracker: "PersonaTracker") -> int:
        """Mirror what MLflow does not have yet of a user; return the number of versions.

        Raises:
            TrackingError: MLflow could not be reached.
        """
        from .personas import program

        with self._turn_of(user.key):
            try:
                self._store.user(user.user_id)
            except UnknownUserError:
                return 0  # Erased meanwhile: no copy comes back.
            return tracker.mirror(user, lambda version: program(user, version))

    def erase(self, user_key: str, tracker: "PersonaTracker") -> "Erased":
        """Erase what is mirrored of a user, after whatever is being mirrored.

        Raises:
            TrackingError: MLflow could not be reached; erasing again goes on.
            StorageError: What was deleted is still in MLflow's SQLite file.
        """
        with self._turn_of(user_key):
            return tracker.erase(user_key)

    @contextmanager
    def _turn_of(self, user_key: str) -> Generator[None]:
        from filelock import FileLock

        everywhere = FileLock(self._lock) if self._lock else self._store.alone(f"mirror of {user_key}")
        with self._turns[int(user_key, 16) % _AT_ONCE], everywhere:
            yield
