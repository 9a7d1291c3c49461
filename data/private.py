"""Files and folders that hold a user's words: nobody but their owner may read them."""

import os
from contextlib import suppress
from pathlib import Path

_FOLDER, _FILE = 0o700, 0o600


def private_folder(folder: Path) -> None:
    """Make a folder if it is not there, and close it to everybody else."""
    folder.mkdir(mode=_FOLDER, parents=True, exist_ok=True)
    close_to_others(folder)


def private_file(file: Path) -> None:
    """Make a file if it is not there, before anything is in it, and close it to everybody else.

    Raises:
        OSError: It cannot be made.
    """
    os.close(os.open(file, os.O_CREAT | os.O_RDONLY, _FILE))
    close_to_others(file)


def close_to_others(path: Path) -> None:
    """Take the rights of everybody else away; a device, or what belongs to somebody else, stays as it is."""
    if not (path.is_file() or path.is_dir()):
        return
    with suppress(PermissionError, FileNotFoundError):
        path.chmod(path.stat().st_mode & 0o700)
