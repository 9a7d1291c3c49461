"""What Chroma leaves in its folder of what was deleted: rows in its database, whole files of vectors, and more.

A new file of vectors has space for a hundred. Chroma never sets the unused space: it holds whatever its process had in
this memory before, an erased user's vectors among it.
"""

import os
import shutil
import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from uuid import UUID

from ..errors import StorageError
from ..files import compact

DATABASE = "chroma.sqlite3"
TO_CLEAN = "to-clean"
"""A file that is there while a process may leave in others what it remembers of users whom it erased."""

_HEADER = struct.Struct("<i4Q")
"""How `header.bin` begins: version, an offset, elements that there is space for, elements, bytes of each."""
_VERSION = 1
_LENGTH_BYTES = 4
_ZEROS = bytes(1 << 20)


def remove_leftovers(folder: Path) -> None:
    """Delete folders that no collection has any more, clear the unused space of others, write the database anew.

    No process has Chroma's `folder` open.

    Raises:
        StorageError: It could not be done, or not of files in this form; the folder can still be used.
    """
    try:
        with closing(sqlite3.connect(folder / DATABASE)) as database:
            used = {name for (name,) in database.execute("SELECT id FROM segments")}
        for entry in folder.iterdir():
            if entry.name in used:
                _clear_unused(entry)
            elif _is_segment(entry.name) and entry.is_dir():
                shutil.rmtree(entry)
    except (OSError, sqlite3.Error, struct.error) as error:
        raise StorageError(f"{folder}: vectors that were deleted are still there ({error}): try again") from error
    compact(folder / DATABASE)


def _clear_unused(segment: Path) -> None:
    """Write zeros where the files of one segment have space for elements that are not there."""
    header, vectors, lengths = (segment / name for name in ("header.bin", "data_level0.bin", "length.bin"))
    if not header.exists():
        return
    version, _, capacity, elements, size = _HEADER.unpack_from(header.read_bytes())
    known = version == _VERSION and vectors.stat().st_size in (elements * size, capacity * size)
    if not (known and lengths.stat().st_size in (elements * _LENGTH_BYTES, capacity * _LENGTH_BYTES)):
        raise StorageError(f"{segment}: this release cannot clean what this version of Chroma writes: tell us of it")
    _clear(vectors, elements * size)
    _clear(lengths, elements * _LENGTH_BYTES)


def _clear(file: Path, start: int) -> None:
    with file.open("r+b") as opened:
        missing = opened.seek(0, os.SEEK_END) - start
        opened.seek(start)
        while missing > 0:
            missing -= opened.write(_ZEROS[:missing])
        opened.flush()
        os.fsync(opened.fileno())


def _is_segment(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False
