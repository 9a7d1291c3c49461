"""A user erased with every trace: from store, journal, index and MLflow, and from the files under them."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from .data.errors import PersonaAgentError, StorageError
from .data.nouns import Noun
from .data.store import user_key
from .data.store.erasure import PARTS, Part, Tombstone
from .data.store.journal import now
from .data.store.log import check_id

if TYPE_CHECKING:
    from .home import Home

_FILES: tuple[Part, ...] = ("index", "files")
_LEFT_TO_OWNER = "what files hold: the process that has the home folder open removes it, a server within seconds"
_WORDS: dict[Part, str] = {
    "rows": "rows of the store",
    "index": "vectors in the files of the index",
    "files": "deleted rows in the files of the database",
    "tracking": "prompt versions, runs and artifacts in MLflow",
}
_log = logging.getLogger(__name__)


class Receipt(Noun):
    """What was removed of a user, and what was not."""

    user_key: str
    removed: dict[str, int]
    """By what it was: rows of each table, `episodes` of the index, `prompt_versions` and `tracked_runs` of MLflow."""
    left: tuple[str, ...] = ()
    """What could not be removed yet, in words. It is noted, and done later; what others must do says so."""
    at: datetime


def erase(home: "Home", user_id: str) -> Receipt:
    """Erase a user with every trace.

    The user need not be stored any more. The erasure is noted first. What fails, or is left when the process is killed,
    is named in the receipt and done later: when the home is opened again, by a server in the background, or by erasing
    again. What evaluations keep of the people in their data stays.
    """
    check_id("user id", user_id)
    home.store.database.disk.use_reserve()
    stone = home.store.people.tombstones.add(user_key(user_id))
    if not home.is_guest:
        return _go_on(home, stone, PARTS)
    receipt = _go_on(home, stone, [part for part in PARTS if part not in _FILES])
    return receipt.model_copy(update={"left": (*receipt.left, _LEFT_TO_OWNER)})


def finish_erasures(home: "Home", *, elsewhere: bool = True) -> tuple[Receipt, ...]:
    """Go on with every erasure that is not finished; `elsewhere` in services too, which may be slow to answer."""
    if not (stones := home.store.people.tombstones.all()):
        return ()
    home.store.database.disk.use_reserve()
    services = {"index": home.store.people.index_is_elsewhere, "tracking": home.tracker.is_elsewhere}
    parts: list[Part] = [part for part in PARTS if elsewhere or not services.get(part)]
    return tuple(_go_on(home, stone, parts) for stone in stones if set(stone.parts).intersection(parts))


def unfinished(user_key: str) -> Receipt:
    """Return the receipt of an erasure that goes on, since a service is slow to answer."""
    return Receipt(user_key=user_key, removed={}, left=("what a service that is slow to answer has",), at=now())


def _go_on(home: "Home", stone: Tombstone, parts: Sequence[Part]) -> Receipt:
    """Do those of some parts of an erasure that are left."""
    people = home.store.people
    removed: dict[str, int] = {}
    left: list[str] = []
    parts_left: list[Part] = [part for part in stone.parts if part in parts]
    for part in parts_left:
        try:
            removed |= _remove(home, stone, part, left)
            if part != "rows":
                people.tombstones.done(stone, part)
        except PersonaAgentError as error:
            _log.warning("user %s: not erased yet: %s: %s", stone.user_key, _WORDS[part], error)
            left.append(_WORDS[part])
    with suppress(StorageError):  # Another process reads: the tombstone itself stands in the log for a while.
        if people.tombstones.find(stone.user_key) is None:
            home.store.database.forget_erasures()
    return Receipt(user_key=stone.user_key, removed=removed, left=tuple(left), at=now())


def _remove(home: "Home", stone: Tombstone, part: Part, left: list[str]) -> dict[str, int]:
    """Remove a part, say what is left of it that this process cannot remove, and return what was removed."""
    people = home.store.people
    match part:
        case "rows":
            return people.erase_rows(stone)
        case "index":
            episodes = people.erase_episodes(stone.user_key)
            if people.index_is_elsewhere:
                left.append("vectors in the Chroma server's folders that no collection uses: delete these there")
            return {"episodes": episodes}
        case "files":
            home.store.database.compact()
            return {}
        case "tracking":
            erased = home.erase_mirrored(stone.user_key)
            if erased.kept:
                runs = f"names and numbers of {len(erased.kept)} deleted runs"
                left.append(f"{runs} on the MLflow server: run its `mlflow gc`")
            if not erased.is_compact:
                left.append("deleted rows in the files of MLflow's database: compact it where it is (SQLite: VACUUM)")
            return {"prompt_versions": erased.prompt_versions, "tracked_runs": erased.runs}
