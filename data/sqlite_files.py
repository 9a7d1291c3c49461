"""SQLite files that another library made and owns."""

import sqlite3
from contextlib import closing
from pathlib import Path

from .errors import StorageError

_BUSY_TIMEOUT_SECONDS = 30


def compact(file: Path) -> None:
    """Leave nothing in a SQLite file of what was deleted from it. Its owner may have it open, in no transaction.

    Raises:
        StorageError: There is no room for a copy, or its owner is reading or writing.
    """
    try:
        with closing(sqlite3.connect(file, timeout=_BUSY_TIMEOUT_SECONDS, isolation_level=None)) as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise StorageError(
            f"{file}: what was deleted is still in it ({error}): free space on the disk, and try again when nobody "
            "uses it"
        ) from error
