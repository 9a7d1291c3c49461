"""A name that a process has for as long as it lives, also when the server that gave it was away in between."""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Self

from sqlalchemy import Connection, text

from ..errors import PersonaAgentError

_LOOK_SECONDS = 0.5
_PARTING_SECONDS = 5.0
_STILL_THERE = text("SELECT 1")
_log = logging.getLogger(__name__)


class Lease:
    """Holds a name while the block runs; a thread looks whether it still does, and takes it again when it was lost.

    Args:
        hold: Takes the name on a connection, and has it until the connection is given back, or cut.

    Raises:
        StorageError: On entering it: the server cannot be reached.
    """

    def __init__(self, hold: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._hold = hold
        self._over, self._tried = threading.Event(), threading.Event()
        self._failed: PersonaAgentError | None = None
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._tried.wait()
        if self._failed is not None:
            raise self._failed
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(_PARTING_SECONDS)

    def _keep(self) -> None:
        while not self._over.is_set():
            try:
                with self._hold() as connection:
                    self._tried.set()
                    while not self._over.wait(_LOOK_SECONDS):
                        connection.execute(_STILL_THERE)
            except PersonaAgentError as error:
                if not self._tried.is_set():
                    self._failed = error
                    self._over.set()
                _log.warning("a worker's name was lost, and is taken again: %s", type(error).__name__)
                self._tried.set()
                self._over.wait(_LOOK_SECONDS)
