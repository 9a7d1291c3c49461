"""The collections of Chroma over which users are spread: locked, opened, dropped.

A collection per user costs 3 MB of memory and four open files, one collection for all takes 90 ms a search. One process
owns a folder; a Chroma server is for any number of processes that share one store.
"""

import logging
import shutil
import threading
from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ..errors import PersonaAgentError, SetupError, StorageError, writing
from .chroma_files import DATABASE, TO_CLEAN, remove_leftovers
from .chroma_server import ChromaServer, CircuitBreaker
from .embedder import Embedder

if TYPE_CHECKING:
    from .chroma_server import Client, Collection

_LAYOUT = 2
_HNSW = {"space": "cosine"}
_LONGEST_WAIT_SECONDS = 0.5

_log = logging.getLogger(__name__)


class Shards:
    """A fixed number of collections, of which any may not be there yet. Threads may share them.

    Raises:
        SetupError: The URL cannot be used. Of methods: they are closed, or made by another embedder.
        StorageError: Of all methods: Chroma cannot read or write, or its server is slow or does not answer.
    """

    def __init__(self, place: Path | str | None, embedder: Embedder, number: int) -> None:
        self._folder = place.resolve() if isinstance(place, Path) else None
        self._server = ChromaServer(place) if isinstance(place, str) else None
        self._breaker = CircuitBreaker(f"Chroma at {self._server.url}") if self._server else None
        self._embedder = embedder
        self._prefix = f"mem-{uuid4().hex}" if place is None else "mem"
        self._locks = [threading.RLock() for _ in range(number)]
        self._client: Client | None = None
        self._collections: dict[int, Collection] = {}
        self._connecting = threading.Lock()
        self._closed = False
        self.must_clean = False
        """Whether this process erased users: it may leave some of what it remembers of them in new files."""
        if self._folder:
            self._clean_after_a_kill(self._folder)

    @property
    def are_shared(self) -> bool:
        """Whether a server has them: then other processes write to them too, and their files are out of reach."""
        return self._server is not None

    @property
    def exist(self) -> bool:
        """Whether anything was ever written."""
        return self._folder is None or (self._folder / DATABASE).exists()

    def number_of(self, user_key: str) -> int:
        """Return the number of a user's shard."""
        return int(user_key, 16) % len(self._locks)

    def locked(self, number: int) -> AbstractContextManager[None]:
        """Let no other thread read or write a shard while the block runs."""
        return self._taken(self._locks[number])

    @contextmanager
    def _taken(self, lock: "threading.RLock | threading.Lock") -> Generator[None]:
        if not lock.acquire(timeout=_LONGEST_WAIT_SECONDS if self._server else -1):
            raise StorageError("the memory index is slow: try again later")
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def opened(self, number: int) -> "Generator[Collection]":
        """Open a shard while the block runs; no other thread reads or writes it."""
        with self._breaker.closed() if self._breaker else nullcontext(), self.locked(number), self._errors():
            yield self._collection(number)

    @contextmanager
    def recreated(self, number: int) -> "Generator[Collection]":
        """Drop a shard and open a new one in its place while the block runs."""
        with self._locks[number], self._errors():
            name = self._collection(number).name
            self._collections.pop(number, None)
            self._connected().delete_collection(name)
            yield self._collection(number)

    def drop(self) -> None:
        """Drop all of them; where their files are damaged, the folder as a whole."""
        try:
            with self._all() as client:
                self._collections.clear()
                for collection in self._ours(client):
                    client.delete_collection(collection.name)
        except StorageError:
            if self._folder is None:
                raise
            self._remove(self._folder)

    def _remove(self, folder: Path) -> None:
        with self._all_locked():
            client, self._client = self._client, None
            self._collections.clear()
            if client is not None:
                with suppress(Exception):
                    client.close()
            with writing(folder):
                for entry in folder.iterdir():
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def note_erasing(self) -> None:
        """Note that this process remembers a user who is erased: its files are cleaned once it has ended."""
        self.must_clean = True
        if self._folder:
            with writing(self._folder):
                (self._folder / TO_CLEAN).touch()

    def note_erased(self) -> None:
        """Note that this process has ended, and has cleaned its files."""
        self.must_clean = False
        if self._folder:
            (self._folder / TO_CLEAN).unlink(missing_ok=True)

    def _clean_after_a_kill(self, folder: Path) -> None:
        if not (folder / TO_CLEAN).exists():
            return
        try:
            if self.exist:
                remove_leftovers(folder)
        except StorageError as error:
            _log.warning("the memory index is not cleaned yet: %s", error)
        else:
            self.note_erased()

    def clean(self) -> None:
        """Leave nothing in the files of what was dropped, while all users wait."""
        with self._all() as client:
            if self._folder:
                client.close()  # It has the files open; the next call opens it again.
                self._client = None
                self._collections.clear()
                remove_leftovers(self._folder)

    def close(self) -> None:
        """Close the folder. What was kept in memory is gone."""
        if (client := self._client or self._server) is not None:
            if not (self._folder or self._server):
                self.drop()
            client.close()
        self._closed, self._client = True, None

    @contextmanager
    def _all_locked(self) -> Generator[None]:
        with ExitStack() as locks:
            for lock in self._locks:
                locks.enter_context(lock)
            yield

    @contextmanager
    def _all(self) -> "Generator[Client]":
        with self._all_locked(), self._errors():
            yield self._connected()

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
        with self._taken(self._connecting):
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
        return [
            collection for collection in client.list_collections() if collection.name.startswith(f"{self._prefix}-")
        ]

    @property
    def _built_from(self) -> dict[str, str | int]:
        return {"layout": _LAYOUT, "shards": len(self._locks), "embedder": self._embedder.fingerprint}

    @contextmanager
    def _errors(self) -> Generator[None]:
        """Let Chroma's failures out as ours."""
        if self._server is not None:
            yield  # Its errors are ours already, and without Chroma's library a process is 80 MB smaller.
            return
        try:
            yield
        except BaseException as error:
            if _is_of_chroma(error):
                raise StorageError(
                    f"{self._folder or 'memory'}: the memory index failed ({error}): free space on the "
                    "disk, or make it anew with `personaagent memory rebuild`"
                ) from error
            raise


def _is_of_chroma(error: BaseException) -> bool:
    """Return whether Chroma failed. Damaged files make it raise what it never says that it raises, a panic even."""
    is_panic = type(error).__module__.startswith("pyo3")
    return is_panic or (isinstance(error, Exception) and not isinstance(error, PersonaAgentError))


def _chroma_client(folder: Path | None) -> "Client":
    import chromadb
    from chromadb.api.shared_system_client import SharedSystemClient
    from chromadb.config import Settings

    settings = Settings(anonymized_telemetry=False)
    if folder is None:
        return chromadb.EphemeralClient(settings)
    try:
        return chromadb.PersistentClient(folder, settings)
    except BaseException:
        # Chroma keeps what failed to start, and would return it to the next caller.
        shared: Any = SharedSystemClient
        shared._identifier_to_system.pop(str(folder), None)
        raise
