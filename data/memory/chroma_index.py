"""Episodes by meaning: the vectors of interactions in Chroma, derived from the store and rebuilt from it.

The store is the truth and is written first. A crash may lose rows that wait in memory to be written to Chroma: `heal`
brings them back.
"""

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from ..errors import StorageError
from ..interaction import Interaction
from ..nouns import Handle
from ..texts import letter_likeness
from .embedder import Embedder, is_unknown
from .nearest import NO_ROWS, Comparison, Match, RowCache, UserRows
from .rows import NO_MARK, Mark, Row, StoredInteractions, content_of, hash_of, mark_of, row_id, row_of, user_of
from .shards import Shards

if TYPE_CHECKING:
    from chromadb.api.models.Collection import GetResult

    from .chroma_server import Collection

_MOST_PENDING = 32
"""Rows of a shard that wait to be written together: one alone takes Chroma as long as all of them, 10 ms."""
_BATCH = 1_000
_Item = TypeVar("_Item")

_log = logging.getLogger(__name__)


class EpisodeIndex(Handle):
    """The vectors of many users' interactions. Each call names one user by key and touches only this user's rows.

    On opening, collections made by another embedder, layout or number of shards are dropped; `heal` then brings each
    user's rows back from the store. Threads may share it.

    Args:
        place: A `Path` is the folder where Chroma keeps its files: a home sees to it that one index has it open. A text
            is the URL of a Chroma server that only the processes of one store use. None keeps all in memory.
        embedder: Makes the vectors. Nothing is asked of it before the first row or search.
        shards: How many collections the users are spread over.

    Raises:
        SetupError: The URL cannot be used.
        StorageError: Of all methods: Chroma cannot read or write. The next `heal` mends what was not written.
    """

    def __init__(self, place: Path | str | None, embedder: Embedder, *, shards: int = 64) -> None:
        self._shards = Shards(place, embedder, shards)
        self._embedder = embedder
        self._marks: dict[str, Mark] = {}  # Of the store, when a user's rows were last equal to it.
        self._cache = RowCache()
        self._pending: dict[int, list[tuple[Row, list[float]]]] = {}

    def add(self, user_key: str, interactions: Sequence[Interaction]) -> None:
        """Write the rows of interactions that were just stored, with the positions that the store gave them.

        Those of a user whose rows are cached can be found at once, and are written together with others.
        """
        number = self._shards.number_of(user_key)
        added = 0
        for batch in _batches(self._rows_of(user_key, interactions)):
            added += len(batch)
            vectors = self._vectors(batch)
            with self._shards.locked(number):
                cached = self._cache.pop(user_key)
                more = None if cached is None else cached.with_new(batch, vectors)
                pending = self._pending.setdefault(number, [])
                if more is None or len(pending) + len(batch) > _MOST_PENDING:
                    with self._whole_shard(number) as shard:
                        write(shard, batch, vectors)
                else:
                    pending.extend(zip(batch, vectors, strict=True))
                if (known := self._marks.get(user_key)) is not None:
                    self._marks[user_key] = (known[0] + len(batch), interactions[added - 1].interaction_id)
                if more is not None:
                    self._cache.put(user_key, more)

    def remove(self, user_key: str, interaction_ids: Sequence[str] | None = None) -> None:
        """Drop the rows of forgotten interactions, or all of the user's; the vectors stay in Chroma's files.

        `erase` takes them out of the files, `heal` brings rows of what is stored back.
        """
        with self._shard_of(user_key) as shard:
            self._cache.pop(user_key)
            rows = None if interaction_ids is None else [row_id(user_key, name) for name in interaction_ids]
            _delete(shard, list(_rows_in(shard, user_key)) if rows is None else rows)
            self._marks.pop(user_key, None)

    def erase(self, user_key: str) -> int:
        """Drop the user's rows, those that were dropped before too, out of Chroma's files.

        Chroma takes no vector out of a file. So the user's shard is made anew from the rows of its other users, while
        these wait; cut off in between, their `heal` brings them back. Then the files are cleaned, while all users wait.
        The files of a server are out of reach (`is_elsewhere`): they keep vectors that no collection uses any more.

        Returns:
            How many rows of the user there were.
        """
        if not self._shards.exist:
            return 0
        number = self._shards.number_of(user_key)
        self._shards.note_erasing()
        with self._whole_shard(number) as shard:
            erased = len(_rows_in(shard, user_key))
            kept = shard.get(where={"user": {"$ne": user_key}}, include=["embeddings", "metadatas"])
            for neighbour in [key for key in list(self._marks) if self._shards.number_of(key) == number]:
                self._forget(neighbour)
            self._forget(user_key)
            with self._shards.recreated(number) as anew:
                write_again(anew, kept)
        self._write_pending()  # Written later, their new files would have room for what this process remembers.
        self._shards.clean()
        return erased

    def heal(self, user_key: str, stored: StoredInteractions) -> None:
        """Make the user's rows equal to what is stored, unless they are known to be.

        They are known to be once this process has compared them, and for as long as the store's mark is the same. So
        what a crash left undone between store and index, or another process stored, is done before a search. A server's
        rows are counted each time, since other processes write them too.
        """
        with self._shards.locked(self._shards.number_of(user_key)):
            if self._is_known(user_key, stored.mark):
                return
            self._cache.pop(user_key)
            with self._shard_of(user_key) as shard:
                # The rows first: another process stores before it writes, so none of its new ones looks extra.
                found, interactions = _rows_in(shard, user_key), stored.all()
                rows = self._rows_of(user_key, interactions)
                _delete(shard, list(found.keys() - {row.row_id for row in rows}))
                for batch in _batches([row for row in rows if found.get(row.row_id) != row.metadata]):
                    write(shard, batch, self._vectors(batch))
            self._marks[user_key] = mark_of(interactions)
            if not interactions and not self._shards.are_shared:
                self._cache.put(user_key, NO_ROWS)
        if interactions and stored.mark == NO_MARK:
            self.erase(user_key)  # The user was erased between the store and the index.

    def search(
        self,
        user_key: str,
        text: str,
        k: int,
        *,
        before: Sequence[Interaction] = (),
        otherwise: Callable[[], list[Match]] | None = None,
    ) -> list[Match]:
        """Return at most `k` of the user's interactions, nearest in meaning first; what asks the same is the nearest.

        Masks (`before`, see `rows.shows`) hide some. `otherwise` finds what is returned where vectors do not tell these
        texts apart (`Comparison.is_blind`).
        """
        vector = self._embedder.embed([text])[0].tolist()
        unknown = is_unknown(self._embedder, text)
        with self._shards.locked(self._shards.number_of(user_key)):
            comparison = Comparison(self._rows(user_key), hash_of(text), vector, before, is_unknown=unknown)
        return otherwise() if otherwise and comparison.is_blind else comparison.best(k)

    def likeness(self, text: str, others: Sequence[str]) -> list[float]:
        """Return how near each of `others` is to `text`: in meaning, or by letters if the embedder has no words."""
        if is_unknown(self._embedder, text):
            return letter_likeness(text, others)
        vector, *rest = self._embedder.embed([text, *others]).astype("float64")
        return [round(float(vector @ other), 9) for other in rest]

    def rebuild(self) -> None:
        """Drop the rows of all users; `heal` brings each user's back."""
        self._shards.drop()
        self._marks.clear()
        self._pending.clear()
        self._cache.clear()

    def close(self) -> None:
        """Close the folder; the index cannot be used any more."""
        try:
            self._write_pending()
            if self._shards.must_clean:
                self._shards.clean()
                self._shards.note_erased()
        except StorageError as error:
            _log.warning("the memory index is behind the store, and catches up when it is opened again: %s", error)
        self._cache.clear()
        self._shards.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_known(self, user_key: str, mark: Mark) -> bool:
        """Return whether this process has compared the user's rows when the store was as it is."""
        if not self._shards.are_shared or user_key not in self._marks:
            return self._marks.get(user_key) == mark
        with self._shard_of(user_key) as shard:
            return len(shard.get(where={"user": user_key}, include=[])["ids"]) == mark[0]

    def _rows(self, user_key: str) -> UserRows:
        """Return a user's rows, cached unless other processes write them too: Chroma takes 0.1 ms to return one."""
        if (cached := self._cache.get(user_key)) is not None:
            return cached
        with self._shard_of(user_key) as shard:
            rows = UserRows.read(shard.get(where={"user": user_key}, include=["embeddings", "metadatas"]))
        if not self._shards.are_shared:
            self._cache.put(user_key, rows)
        return rows

    def _rows_of(self, user_key: str, interactions: Sequence[Interaction]) -> list[Row]:
        contents = [content_of(interaction) for interaction in interactions]
        return [
            row_of(user_key, interaction, content, is_unknown=is_unknown(self._embedder, content))
            for interaction, content in zip(interactions, contents, strict=True)
        ]

    def _vectors(self, rows: Sequence[Row]) -> list[list[float]]:
        return self._embedder.embed([row.content for row in rows]).tolist()

    @property
    def is_elsewhere(self) -> bool:
        """Whether a server has the files."""
        return self._shards.are_shared

    @contextmanager
    def _shard_of(self, user_key: str) -> "Generator[Collection]":
        """Open a user's shard, with the user's pending rows written, while the block runs."""
        number = self._shards.number_of(user_key)
        with self._shards.opened(number) as shard:
            if any(user_of(row.row_id) == user_key for row, _ in self._pending.get(number, ())):
                self._write_pending_of(shard, number)
            yield shard

    @contextmanager
    def _whole_shard(self, number: int) -> "Generator[Collection]":
        """Open a shard, with all its pending rows written, while the block runs."""
        with self._shards.opened(number) as shard:
            self._write_pending_of(shard, number)
            yield shard

    def _write_pending_of(self, shard: "Collection", number: int) -> None:
        if not (pending := self._pending.pop(number, None)):
            return
        with ExitStack() as failing:
            for user_key in {user_of(row.row_id) for row, _ in pending}:
                failing.callback(self._forget, user_key)  # Its rows are healed before the next search.
            write(shard, [row for row, _ in pending], [vector for _, vector in pending])
            failing.pop_all()

    def _write_pending(self) -> None:
        for number in list(self._pending):
            with self._whole_shard(number):
                pass

    def _forget(self, user_key: str) -> None:
        self._marks.pop(user_key, None)
        self._cache.pop(user_key)


def _batches(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]


def _rows_in(shard: "Collection", user_key: str) -> dict[str, dict[str, object]]:
    found = shard.get(where={"user": user_key}, include=["metadatas"])
    return {row: dict(metadata) for row, metadata in zip(found["ids"], found["metadatas"], strict=True)}


def write(shard: "Collection", rows: Sequence[Row], vectors: list[list[float]]) -> None:
    """Write one batch of rows, over those of the same ids."""
    shard.upsert(ids=[row.row_id for row in rows], embeddings=vectors, metadatas=[row.metadata for row in rows])


def write_again(shard: "Collection", rows: "GetResult") -> None:
    """Write rows as they were read, vectors included."""
    for batch in _batches(range(len(rows["ids"]))):
        these = slice(batch[0], batch[-1] + 1)
        ids, vectors, metadatas = rows["ids"][these], rows["embeddings"][these], rows["metadatas"][these]
        shard.upsert(ids=ids, embeddings=vectors, metadatas=metadatas)


def _delete(shard: "Collection", row_ids: Sequence[str]) -> None:
    for batch in _batches(row_ids):
        shard.delete(ids=batch)
