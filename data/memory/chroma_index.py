"""Episodes by meaning: the vectors of interactions in Chroma, derived from the store and rebuilt from it.

The store is the truth and is written first. Users share a few collections (shards): a collection per user costs 3 MB of
memory and four open files, one collection for all takes 90 ms a search. One process owns a folder; a Chroma server is
for any number of processes that share one store.
"""

import logging
import threading
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from cachetools import LRUCache

from ..errors import SetupError, StorageError
from ..interaction import Interaction
from .chroma_server import ChromaServer
from .claims import claim, release
from .embedder import Embedder
from .leftovers import DATABASE, remove_leftovers
from .nearest import Match, UserRows, nearest
from .rows import Row, StoredInteractions, contents_of, row_id
from .shard import batches, count_of, delete, make_equal, rows_in, rows_of, write, write_again

if TYPE_CHECKING:
    from .chroma_server import Client, Collection

_LAYOUT = 1
_HNSW = {"space": "cosine"}
_MOST_HELD = 20_000
"""Rows that are held in memory, some 3 kB each: Chroma takes 0.1 ms to hand one out."""

_log = logging.getLogger(__name__)


class EpisodeIndex:
    """The vectors of many users' interactions. Each call names one user by key and touches only this user's rows.

    On opening, collections made by another embedder, layout or number of shards are dropped; `heal` then brings each
    user's rows back from the store. Threads may share it; copies of it are itself.

    Args:
        place: A `Path` is the folder where Chroma keeps its files, a text the URL of a Chroma server that only the
            processes of one store use; None keeps all in memory until this index is closed.
        embedder: Makes the vectors. Nothing is asked of it before the first row or search.
        shards: How many collections the users are spread over.

    Raises:
        SetupError: This process has the folder open already, or the URL cannot be used.
    """

    def __init__(self, place: Path | str | None, embedder: Embedder, *, shards: int = 64) -> None:
        self._folder = place.resolve() if isinstance(place, Path) else None
        self._server = ChromaServer(place) if isinstance(place, str) else None
        self._embedder = embedder
        self._prefix = f"mem-{uuid4().hex}" if place is None else "mem"
        self._locks = [threading.RLock() for _ in range(shards)]
        self._known_rows: dict[str, int] = {}
        self._held: LRUCache[str, UserRows] = LRUCache(_MOST_HELD, getsizeof=len)
        self._holding = threading.Lock()
        self._client: Client | None = None
        self._collections: dict[int, Collection] = {}
        self._connecting = threading.Lock()
        self._closed = False
        if self._folder:
            claim(self._folder, self)

    def add(self, user_key: str, interactions: Sequence[Interaction], contents: Sequence[str]) -> None:
        """Write the rows of interactions that were just stored.

        Args:
            user_key: Whose.
            interactions: With the positions that the store gave them.
            contents: What to embed of each.

        Raises:
            StorageError: Chroma cannot write. The next `heal` writes the rows.
        """
        for batch in batches(rows_of(user_key, interactions, contents)):
            vectors = self._vectors(batch)
            with self._shard(user_key) as shard:
                held = self._let_go(user_key)
                write(shard, batch, vectors)
                self._count(user_key, len(batch))
                self._hold(user_key, None if held is None else held.with_new(batch, vectors))

    def remove(self, user_key: str, interaction_ids: Sequence[str]) -> None:
        """Drop the rows of interactions that were just forgotten. Their vectors stay in Chroma's files until `erase`.

        Raises:
            StorageError: Chroma cannot write. The next `heal` drops the rows.
        """
        with self._shard(user_key) as shard:
            self._let_go(user_key)
            delete(shard, [row_id(user_key, interaction_id) for interaction_id in interaction_ids])
            self._count(user_key, -len(interaction_ids))

    def erase(self, user_key: str) -> int:
        """Drop the user's rows, those that were dropped before too, out of Chroma's files.

        Chroma takes no vector out of a file. So the user's shard is made anew from the rows of its other users, while
        these wait; cut off in between, their `heal` brings them back. Then the files are cleaned, while everyone waits.
        The files of a server are out of reach (`is_elsewhere`): they keep vectors that no collection uses any more.

        Returns:
            How many rows of the user there were.

        Raises:
            StorageError: Chroma cannot read or write.
        """
        if self._folder and not (self._folder / DATABASE).exists():
            return 0
        with self._shard(user_key) as shard:
            number = self._number(user_key)
            erased = len(rows_in(shard, user_key))
            kept = shard.get(where={"user": {"$ne": user_key}}, include=["embeddings", "metadatas"])
            for neighbour in [key for key in list(self._known_rows) if self._number(key) == number]:
                del self._known_rows[neighbour]
                self._let_go(neighbour)
            self._let_go(user_key)
            self._collections.pop(number, None)
            self._connected().delete_collection(shard.name)
            with self._shard(user_key) as anew:
                write_again(anew, kept)
        with self._everything() as client:
            if self._folder:
                client.close()  # It has the files open; whoever comes next opens it again.
                self._client = None
                self._collections.clear()
                remove_leftovers(self._folder)
        return erased

    def heal(self, user_key: str, stored: StoredInteractions) -> None:
        """Make the user's rows equal to what is stored, unless they are known to be.

        They are known to be once this process has compared them, and for as long as their number is the store's. So
        what a crash left undone between store and index is done before anyone searches. A server's rows are counted
        each time, since other processes write them too: what one of them left undone changes their number.

        Raises:
            StorageError: Chroma cannot read or write.
        """
        with self._shard(user_key) as shard:
            if self._rows_now(shard, user_key) != len(stored):
                # The rows first: another process stores before it writes them, so none of its new ones looks extra.
                self._let_go(user_key)
                found, interactions = rows_in(shard, user_key), stored.all()
                make_equal(shard, found, rows_of(user_key, interactions, contents_of(interactions)), self._vectors)
                self._known_rows[user_key] = len(interactions)

    def sync(self, user_key: str, interactions: Sequence[Interaction], contents: Sequence[str]) -> None:
        """Make the user's rows equal to these: write what is missing or differs, drop what is extra.

        Raises:
            StorageError: Chroma cannot read or write.
        """
        with self._shard(user_key) as shard:
            self._let_go(user_key)
            make_equal(shard, rows_in(shard, user_key), rows_of(user_key, interactions, contents), self._vectors)
            self._known_rows[user_key] = len(interactions)

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
            return nearest(self._rows(shard, user_key), vector, k, before)

    def rebuild(self) -> None:
        """Drop the rows of all users; `heal` brings each user's back.

        Raises:
            StorageError: Chroma cannot write.
        """
        with self._everything() as client:
            self._known_rows.clear()
            self._collections.clear()
            with self._holding:
                self._held.clear()
            for collection in self._ours(client):
                client.delete_collection(collection.name)

    def close(self) -> None:
        """Let go of the folder. What was kept in memory is gone, and the index cannot be used any more."""
        if (client := self._client or self._server) is not None:
            if not (self._folder or self._server):
                self.rebuild()
            client.close()
        self._closed, self._client = True, None
        if self._folder:
            release(self._folder, self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def _rows_now(self, shard: "Collection", user_key: str) -> int | None:
        """Return how many rows the user has; None if this process has not compared them yet."""
        known = self._known_rows.get(user_key)
        return known if known is None or self._server is None else count_of(shard, user_key)

    def _rows(self, shard: "Collection", user_key: str) -> UserRows:
        with self._holding:
            held = self._held.get(user_key)
        if held is None:
            held = UserRows.read(shard.get(where={"user": user_key}, include=["embeddings", "metadatas"]))
            self._hold(user_key, held)
        return held

    def _hold(self, user_key: str, rows: UserRows | None) -> None:
        """Keep a user's rows at hand. Other processes write to a server too: its rows are read each time."""
        if rows is not None and self._server is None and len(rows) <= _MOST_HELD:
            with self._holding:
                self._held[user_key] = rows

    def _let_go(self, user_key: str) -> UserRows | None:
        with self._holding:
            return self._held.pop(user_key, None)

    def _vectors(self, rows: Sequence[Row]) -> list[list[float]]:
        return self._embedder.embed([row.content for row in rows]).tolist()

    def _count(self, user_key: str, change: int) -> None:
        if user_key in self._known_rows:
            self._known_rows[user_key] += change

    @property
    def is_elsewhere(self) -> bool:
        """Whether a server has the files."""
        return self._server is not None

    def _number(self, user_key: str) -> int:
        return int(user_key, 16) % len(self._locks)

    @contextmanager
    def _everything(self) -> "Generator[Client, None, None]":
        """Hold all shards while the block runs."""
        with ExitStack() as held, _storage_errors(self._server or self._folder):
            for lock in self._locks:
                held.enter_context(lock)
            yield self._connected()

    @contextmanager
    def _shard(self, user_key: str) -> "Generator[Collection, None, None]":
        """Hold the user's shard while the block runs: nobody else reads or writes it."""
        number = self._number(user_key)
        with self._locks[number], _storage_errors(self._server or self._folder):
            yield self._collection(number)

    def _collection(self, number: int) -> "Collection":
        client = self._connected()
        if (known := self._collections.get(number)) is not None:
            return known
        shard = client.get_or_create_collection(
            f"{self._prefix}-{number:04d}",
            configuration={"hnsw": _HNSW},
            metadata=self._built_from,
            embedding_function=None,
        )
        if shard.metadata != self._built_from:
            both = f"from {shard.metadata} in another process, from {self._built_from} in this one"
            raise SetupError(f"the memory index is made {both}: stop both, and start them with one embedder")
        if self._server is None:
            self._collections[number] = shard
        return shard

    def _connected(self) -> "Client":
        with self._connecting:
            if self._closed:
                raise SetupError("this memory index is closed: open a new one")
            if self._client is None:
                client = self._server or _chroma_client(self._folder)
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


def _chroma_client(folder: Path | None) -> "Client":
    import chromadb
    from chromadb.config import Settings

    settings = Settings(anonymized_telemetry=False)
    return chromadb.PersistentClient(folder, settings) if folder else chromadb.EphemeralClient(settings)


@contextmanager
def _storage_errors(place: ChromaServer | Path | None) -> Generator[None, None, None]:
    if isinstance(place, ChromaServer):
        yield  # Its errors are ours already, and without Chroma's library a process is 80 MB smaller.
        return
    from chromadb.errors import ChromaError

    try:
        yield
    except ChromaError as error:
        raise StorageError(
            f"{place or 'memory'}: the memory index failed ({error}): free space on the disk, or delete the folder, "
            "which is rebuilt from the store"
        ) from error
