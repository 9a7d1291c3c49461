"""Which folders this process has open: Chroma gives two clients of one folder different answers."""

import threading
from pathlib import Path
from weakref import WeakValueDictionary

from ..errors import SetupError

_owners: WeakValueDictionary[Path, object] = WeakValueDictionary()
_claiming = threading.Lock()


def claim(folder: Path, owner: object) -> None:
    """Give a folder to an owner, until it is released or the owner is gone.

    Raises:
        SetupError: It has one already.
    """
    with _claiming:
        if folder in _owners:
            raise SetupError(f"{folder}: this process has the memory index open already: close that one first")
        _owners[folder] = owner


def release(folder: Path, owner: object) -> None:
    """Let the next owner in, unless the folder has another one."""
    with _claiming:
        if _owners.get(folder) is owner:
            del _owners[folder]
