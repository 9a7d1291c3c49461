"""Space on the disk: checked before something is paid for, and kept in reserve for erasing and starting again."""

import os
import shutil
import time
from pathlib import Path

from ..errors import FullError

_RESERVE_BYTES = 16 << 20
_LEAST_BYTES = 8 << 20
_FULL_SECONDS = 30.0
"""How long a database that refused to write for lack of space counts as full."""


class DiskSpace:
    """The space that a database has.

    Args:
        file: Its file; None if it is in memory or on a server, which then alone knows.
        name: What errors call it.
    """

    def __init__(self, file: Path | None, name: str) -> None:
        self._folder = file and file.parent
        self._reserve = file and file.with_suffix(".reserve")
        self._name, self._full_since = name, -_FULL_SECONDS

    def note_full(self) -> None:
        """Note that the database refused to write for lack of space."""
        self._full_since = time.monotonic()

    def check(self) -> None:
        """Return if there is space to write.

        Raises:
            FullError: There is none, or hardly any.
        """
        is_full = time.monotonic() - self._full_since < _FULL_SECONDS
        if is_full or (self._folder is not None and not (self._is_enough(0) and self._is_reserved())):
            raise FullError(f"{self._name}: the disk is full, or nearly: free some space and try again")

    def use_reserve(self) -> None:
        """Free the reserve if the disk is full; `check` makes a new one as soon as there is space again."""
        if self._reserve is not None and not self._is_enough(0):
            self._reserve.unlink(missing_ok=True)

    def _is_enough(self, more: int) -> bool:
        return self._folder is None or shutil.disk_usage(self._folder).free >= _LEAST_BYTES + more

    def _is_reserved(self) -> bool:
        if self._reserve is None or self._reserve.exists():
            return True
        if not self._is_enough(_RESERVE_BYTES):
            return False
        try:
            _fill(self._reserve)
        except OSError:
            self._reserve.unlink(missing_ok=True)
            return False
        return True


def _fill(file: Path) -> None:
    opened = os.open(file, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(opened, 0, _RESERVE_BYTES)
        else:
            os.write(opened, bytes(_RESERVE_BYTES))
    finally:
        os.close(opened)
