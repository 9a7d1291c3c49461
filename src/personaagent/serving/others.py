"""The other processes of the same server: who does what, and who is alive."""

import time
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

_LOOKS_AGAIN_SECONDS = 2.0
"""How long a process that lost its name, with the connection to the server that gave it, has to take it again."""


class Others(Protocol):
    """The other processes of the same server."""

    def alone(self, name: str, /) -> AbstractContextManager[None]:
        """Let one process at a time do what goes by a name."""
        ...

    def kept(self, name: str, /) -> AbstractContextManager[object]:
        """Have a name for as long as this process lives, whatever is away in between."""
        ...

    def is_held(self, name: str, /) -> bool:
        """Return whether some process does what goes by a name."""
        ...


class NoOthers:
    """There are none: this process has the store to itself."""

    def alone(self, _name: str, /) -> AbstractContextManager[None]:
        """Let it do what it wants."""
        return nullcontext()

    def kept(self, _name: str, /) -> AbstractContextManager[object]:
        """Let it be called what it wants."""
        return nullcontext()

    def is_held(self, _name: str, /) -> bool:
        """Return that nobody else does anything."""
        return False


def worker_name(run_id: str) -> str:
    """Return the name that a process has for as long as it lives."""
    return f"worker {run_id}"


def is_alive(others: Others, worker: str) -> bool:
    """Return whether another process is alive; one that lost its name has a moment to take it again."""
    if isinstance(others, NoOthers):
        return False
    if others.is_held(worker_name(worker)):
        return True
    time.sleep(_LOOKS_AGAIN_SECONDS)
    return others.is_held(worker_name(worker))
