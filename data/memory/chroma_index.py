"""Episodes by meaning: the vectors of interactions in Chroma, derived from the store and rebuilt from it.

The store is the truth and is written first. Users share a few collections (shards): a collection per user costs 3 MB of
memory and four open files, one collection for all takes 90 ms a search. One process owns a folder.
"""

import logging
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, TypeVar
from uuid import uuid4
from weakref import WeakValueDictionary

from ..errors import SetupError, StorageError
from ..interaction import Interaction
from .embedder import Embedder
from .nearest import Match, nearest
from .rows import Row, contents_of, row_id, row_of, visible_rows

if TYPE_CHECKING:
    from chromadb.api.client import Client
    from chromadb.api.models.Collection import Collection

_LAYOUT = 1
_BATCH = 1_000
_HNSW = {"space": "cosine"}

_Item = TypeVar("_Item")

_log = logging.getLogger(__name__)
_open_folders: "WeakValueDictionary[Path, EpisodeIndex]" = WeakValueDictionary()
_opening = threading.Lock()


class StoredInteractions(Protocol):
    """One user's interactions in the store: the truth that the index follows."""

    def __len__(self) -> int: ...

    def all(self) -> tuple[Interaction, ...]:
        """Return all of them, oldest first."""
        ...


class EpisodeIndex:
    """The vectors of many users' interactions. Each call names one user by key and touches only this user's rows.

    On opening, collections made by another embedder, layout or number of shards are dropped; `heal` then brings each
    user's rows back from the store. Threads may share it; copies of it are itself.

    Args:
        folder: Where Chroma keeps its files; None keeps all in memory until this index is closed.
        embedder: Makes the vectors. Nothing is asked of it before the first row or search.
        shards: How many collections the users are spread over.

    Raises:
        SetupError: This process has the folder open already.
    """

    def __init__(self, folder: Path | None, embedder: Embedder, *, shards: int = 64) -> None:
        self._folder = folder.resolve() if folder else None
        self._embedder = embedder
        self._prefix = "mem" if folder else f"mem-{uuid4().hex}"
        self._locks = [threading.RLock() for _ in range(shards)]
        self._known_rows: dict[str, int] = {}
        self._client: Client | None = None
        self._connecting = threading.Lock()
        self._closed = False
        if self._folder:
            _claim(self._folder, self)

    def add(self, user_key: str, interactions: Sequence[Interaction], contents: Sequence[str]) -> None:
        """Write the rows of interactions that were just stored.

        Args:
            user_key: Whose.
            interactions: With the positions that the store gave them.
            contents: What to embed of each.

        Raises:
            StorageError: Chroma cannot write. The next `heal` writes the rows.
        """
        for batch in _batches(_rows(user_key, interactions, contents)):
            vectors = self._vectors(batch)
            with self._shard(user_key) as shard:
                _write(shard, batch, vectors)
                self._count(user_key, len(batch))

    def remove(self, user_key: str, interaction_ids: Sequence[str]) -> None:
        """Drop the rows of interactions that were just forgotten. Their vectors stay in Chroma's files.

        Raises:
            StorageError: Chroma cannot write. The next `heal` drops the rows.
        """
        with self._shard(user_key) as shard:
            _delete(shard, [row_id(user_key, interaction_id) for interaction_id in interaction_ids])
            self._count(user_key, -len(interaction_ids))

    def heal(self, user_key: str, stored: StoredInteractions) -> None:
        """Make the user's rows equal to what is stored, unless they are known to be.

        They are known to be once this process has compared them, and for as long as their number is the store's. So
        what a crash left undone between store and index is done before anyone searches.

        Raises:
            StorageError: Chroma cannot read or write.
        """
        with self._shard(user_key):
            if self._known_rows.get(user_key) != len(stored):
                interactions = stored.all()
                self.sync(user_key, interactions, contents_of(interactions))

    def sync(self, user_key: str, interactions: Sequence[Interaction], contents: Sequence[str]) -> None:
        """Make the user's rows equal to these: write what is missing or differs, drop what is extra.

        Raises:
            StorageError: Chroma cannot read or write.
        """
        wanted = {row.row_id: row for row in _rows(user_key, interactions, contents)}
        with self._shard(user_key) as shard:
            found = _read(shard, user_key)
            _delete(shard, [extra for extra in found if extra not in wanted])
            for batch in _batches([row for row in wanted.values() if found.get(row.row_id) != row.metadata]):
                _write(shard, batch, self._vectors(batch))
            self._known_rows[user_key] = len(wanted)

    def search(self, user_key: str, text: str, k: int, *, before: Sequence[Interaction] = ()) -> list[Match]:
        """Return at most `k` of the user's interactions, nearest in meaning first.

        Args:
            user_key: Whose.
            text: What to look for.
            k: How many, at least 1.
            before: Masks. Let through is what happened before each of these, is none of these, and asks something else.

        Raises:
            StorageError: Chroma cannot read.
        """
        vector = self._embedder.embed([text])[0].tolist()
        with self._shard(user_key) as shard:
            found = shard.get(where=visible_rows(user_key, before), include=["embeddings", "metadatas"])
            return nearest(found, vector, k)

    def rebuild(self) -> None:
        """Drop the rows of all users; `heal` brings each user's back.

        Raises:
            StorageError: Chroma cannot write.
        """
        with ExitStack() as held, _storage_errors(self._folder):
            for lock in self._locks:
                held.enter_context(lock)
            client = self._connected()
            self._known_rows.clear()
            for collection in self._ours(client):
                client.delete_collection(collection.name)

    def close(self) -> None:
        """Let go of the folder. What was kept in memory is gone, and the index cannot be used any more."""
        if self._client is not None:
            if self._folder is None:
                self.rebuild()
            self._client.close()
        self._closed, self._client = True, None
        if self._folder and _open_folders.get(self._folder) is self:
            del _open_folders[self._folder]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def _vectors(self, rows: Sequence[Row]) -> list[list[float]]:
        return self._embedder.embed([row.content for row in rows]).tolist()

    def _count(self, user_key: str, change: int) -> None:
        if user_key in self._known_rows:
            self._known_rows[user_key] += change

    @contextmanager
    def _shard(self, user_key: str) -> "Generator[Collection, None, None]":
        """Hold the user's shard while the block runs: nobody else reads or writes it."""
        number = int(user_key, 16) % len(self._locks)
        with self._locks[number], _storage_errors(self._folder):
            yield self._connected().get_or_create_collection(
                f"{self._prefix}-{number:04d}",
                configuration={"hnsw": _HNSW},
                metadata=self._built_from,
                embedding_function=None,
            )

    def _connected(self) -> "Client":
        with self._connecting:
            if self._closed:
                raise SetupError("this memory index is closed: open a new one")
            if self._client is None:
                client = _chroma_client(self._folder)
                self._drop_stale(client)
                self._client = client
            return self._client

    def _drop_stale(self, client: "Client") -> None:
        for collection in self._ours(client):
            cosine = collection.configuration_json["hnsw"]["space"] == "cosine"
            if not (cosine and collection.metadata == self._built_from):
                _log.info("memory index %s was built from %s: dropped", collection.name, collection.metadata)
                client.delete_collection(collection.name)

    def _ours(self, client: "Client") -> "list[Collection]":
        return [one for one in client.list_collections() if one.name.startswith(f"{self._prefix}-")]

    @property
    def _built_from(self) -> dict[str, str | int]:
        return {"layout": _LAYOUT, "shards": len(self._locks), "embedder": self._embedder.fingerprint}


def _claim(folder: Path, index: EpisodeIndex) -> None:
    with _opening:
        if folder in _open_folders:
            raise SetupError(f"{folder}: this process has the memory index open already: close that one first")
        _open_folders[folder] = index


def _chroma_client(folder: Path | None) -> "Client":
    import chromadb
    from chromadb.config import Settings

    settings = Settings(anonymized_telemetry=False)
    return chromadb.PersistentClient(folder, settings) if folder else chromadb.EphemeralClient(settings)


@contextmanager
def _storage_errors(folder: Path | None) -> Generator[None, None, None]:
    from chromadb.errors import ChromaError

    try:
        yield
    except ChromaError as error:
        raise StorageError(
            f"{folder or 'memory'}: the memory index failed ({error}): free space on the disk, or delete the folder, "
            "which is rebuilt from the store"
        ) from error


def _rows(user_key: str, interactions: Sequence[Interaction], contents: Sequence[str]) -> list[Row]:
    return [row_of(user_key, one, content) for one, content in zip(interactions, contents, strict=True)]


def _batches(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]


def _read(shard: "Collection", user_key: str) -> dict[str, dict[str, object]]:
    found = shard.get(where={"user": user_key}, include=["metadatas"])
    return {row: dict(metadata) for row, metadata in zip(found["ids"], found["metadatas"], strict=True)}


def _write(shard: "Collection", rows: Sequence[Row], vectors: list[list[float]]) -> None:
    shard.upsert(ids=[row.row_id for row in rows], embeddings=vectors, metadatas=[row.metadata for row in rows])


def _delete(shard: "Collection", row_ids: Sequence[str]) -> None:
    for batch in _batches(row_ids):
        shard.delete(ids=batch)
