"""Files and folders that hold a user's words: only their owner may read them, and what was deleted is out of them."""

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from .errors import StorageError

_FOLDER, _FILE = 0o700, 0o600
_BUSY_TIMEOUT_SECONDS = 30


def private_folder(folder: Path) -> None:
    """Make a folder if it is not there, and close it to all others."""
    folder.mkdir(mode=_FOLDER, parents=True, exist_ok=True)
    close_to_others(folder)


def private_file(file: Path) -> None:
    """Make a file if it is not there, before anything is in it, and close it to all others."""
    os.close(os.open(file, os.O_CREAT | os.O_RDONLY, _FILE))
    close_to_others(file)


def close_to_others(path: Path) -> None:
    """Take the rights of all others away; a device, or what belongs to another user, stays as it is."""
    if not (path.is_file() or path.is_dir()):
        return
    with suppress(PermissionError, FileNotFoundError):
        path.chmod(path.stat().st_mode & 0o700)


def compact(file: Path) -> None:
    """Leave nothing in a SQLite file of what was deleted from it. A program may have it open, in no transaction.

    Raises:
        StorageError: There is no space for a copy, or another program is reading or writing.
    """
    try:
        with closing(sqlite3.connect(file, timeout=_BUSY_TIMEOUT_SECONDS, isolation_level=None)) as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise StorageError(
            f"{file}: what was deleted is still in it ({error}): free space on the disk, and try again when no "
            "other program uses it"
        ) from error
