"""When a user's persona is aligned without being asked."""

from typing import Protocol

from ..data.store import User


class AlignmentPolicy(Protocol):
    """Decides when a user's persona is aligned without being asked."""

    def due(self, user: User) -> str | None:
        """Return why it is to be aligned now, in one sentence; None if it is not."""
        ...


class EveryN:
    """When the user has given n more ground truths than there were when the last alignment began.

    It counts however it ended: one that failed would fail again, and be paid again, at each further ground truth.

    Args:
        n: How many; 0 is never.
    """

    def __init__(self, n: int) -> None:
        self._n = n

    def due(self, user: User) -> str | None:
        """Return why."""
        if self._n == 0:
            return None
        new = user.interactions.known - max((job.known for job in user.jobs.all()), default=0)
        return f"{new} ground truths are new" if new >= self._n else None
