"""Chroma as a server, asked over its REST interface, version 2, for as much as the index needs.

Chroma's own client waits without limit for a server that hangs, in its constructor already, where no timeout can be set
yet, and raises bare exceptions for some of its errors.
"""

import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from ..errors import SetupError, StorageError

if TYPE_CHECKING:
    from chromadb.api.client import Client as LocalClient
    from chromadb.api.models.Collection import Collection as LocalCollection
    from chromadb.api.models.Collection import GetResult

    Client: TypeAlias = "LocalClient | ChromaServer"
    Collection: TypeAlias = "LocalCollection | ServerCollection"

_DATABASE = "/api/v2/tenants/default_tenant/databases/default_database"
_CONNECT_SECONDS = 3
_ANSWER_SECONDS = 10
_MOST_AT_ONCE = 8
_LONGEST_QUEUE_SECONDS = 0.5
_SLOW_SECONDS = 1.0
_LEFT_ALONE_SECONDS = 15.0

_Answer = TypeVar("_Answer")


class _Record(BaseModel):
    id: str
    name: str
    metadata: dict[str, str | int | float | bool] | None
    configuration_json: dict[str, dict[str, str | int | float] | None]


_RECORD, _RECORDS = TypeAdapter(_Record), TypeAdapter(list[_Record])


class ChromaServer:
    """A client of a Chroma server, with those calls of Chroma's own clients that the index needs. Threads may share it.

    Nothing is sent before the first call, and no call waits for the server for more than ten seconds.

    Args:
        url: `http://HOST:PORT`. The server asks for no password, so it must be reachable from here only.

    Raises:
        SetupError: The URL is not of this form.
        StorageError: Of all methods: the server does not answer as it should.
    """

    def __init__(self, url: str) -> None:
        self.url = _checked(url)
        timeout = httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS)
        self._http = httpx.Client(base_url=self.url + _DATABASE, timeout=timeout)

    def list_collections(self) -> "list[ServerCollection]":
        """Return all collections, those of others included."""
        return [ServerCollection(self, record) for record in self._read(_RECORDS, self.ask("GET", "/collections"))]

    def get_or_create_collection(
        self,
        name: str,
        *,
        configuration: Mapping[str, Mapping[str, str | int]],
        metadata: Mapping[str, str | int],
        embedding_function: None,
    ) -> "ServerCollection":
        """Return the collection of a name as it is; only a new one gets this configuration and this metadata."""
        wanted = {"name": name, "configuration": configuration, "metadata": metadata, "get_or_create": True}
        return ServerCollection(self, self._read(_RECORD, self.ask("POST", "/collections", wanted)))

    def delete_collection(self, name: str) -> None:
        """Delete a collection, unless another process has done so."""
        self.ask("DELETE", f"/collections/{name}", missing_ok=True)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ask(self, method: str, path: str, body: object = None, *, missing_ok: bool = False) -> bytes:
        """Send one request, with a JSON body if any, and return the body of the answer.

        With `missing_ok`, it is no failure if what the path names is not there.
        """
        try:
            answer = self._http.request(method, path, content=None if body is None else to_json(body))
            if not (missing_ok and answer.status_code == HTTPStatus.NOT_FOUND):
                answer.raise_for_status()
        except httpx.HTTPStatusError as error:
            # Its text may quote what was sent, and an interaction's id is for its user to choose.
            raise self._failure(f"status {error.response.status_code}") from None
        except httpx.HTTPError as error:
            raise self._failure(f"{type(error).__name__} {error}".rstrip()) from error
        return answer.content

    def _read(self, form: "TypeAdapter[_Answer]", answer: bytes) -> _Answer:
        try:
            return form.validate_json(answer)
        except ValidationError:
            raise self._failure("its answer is not Chroma's") from None

    def _failure(self, reason: str) -> StorageError:
        return StorageError(
            f"Chroma at {self.url} failed ({reason}): see that it is up and that PERSONAAGENT_CHROMA names it; "
            "what is stored meanwhile is indexed afterwards"
        )


class ServerCollection:
    """One collection on a server. Each call raises a `StorageError` if the server does not answer as it should."""

    def __init__(self, server: ChromaServer, record: _Record) -> None:
        self._server, self._path = server, f"/collections/{record.id}"
        self.name, self.metadata = record.name, record.metadata
        self.configuration_json = {
            kind: settings for kind, settings in record.configuration_json.items() if settings is not None
        }

    def upsert(
        self,
        *,
        ids: Sequence[str],
        embeddings: Sequence[Sequence[float]],
        metadatas: Sequence[Mapping[str, str | int]],
    ) -> None:
        """Write rows, over those that have the same ids."""
        self._ask("upsert", {"ids": ids, "embeddings": embeddings, "metadatas": metadatas})

    def count(self) -> int:
        """Return how many rows there are."""
        return int(self._server.ask("GET", f"{self._path}/count"))

    def get(self, *, where: Mapping[str, object], include: Sequence[str]) -> "GetResult":
        """Return the rows that a filter lets through, with their ids and what else is to be included."""
        return from_json(self._ask("get", {"where": where, "include": include}))

    def delete(self, *, ids: Sequence[str]) -> None:
        """Delete rows by their ids, if they are there."""
        self._ask("delete", {"ids": ids})

    def _ask(self, what: str, body: object) -> bytes:
        return self._server.ask("POST", f"{self._path}/{what}", body)


def _checked(url: str) -> str:
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        parts = httpx.URL()
    is_root = parts.path in {"", "/"} and not (parts.userinfo or parts.query or parts.fragment)
    if parts.scheme not in {"http", "https"} or not parts.host or not is_root:
        # It may hold a password, so it is not said here.
        raise SetupError("the Chroma server's URL cannot be used: write http://HOST:PORT, and nothing else in it")
    return str(parts).rstrip("/")


class CircuitBreaker:
    """Lets a few callers at once ask a service; after a slow failure, one after each pause. Threads may share it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._slots = threading.BoundedSemaphore(_MOST_AT_ONCE)
        self._guard = threading.Lock()
        self._again_at = 0.0

    @contextmanager
    def closed(self) -> Generator[None]:
        """Ask the service while the block runs."""
        self._check()
        if not self._slots.acquire(timeout=_LONGEST_QUEUE_SECONDS):
            raise StorageError(f"{self._name} is slow, and {_MOST_AT_ONCE} wait for it already: try again later")
        began = time.monotonic()
        try:
            yield
        except StorageError:
            if time.monotonic() - began >= _SLOW_SECONDS:
                self._again_at = time.monotonic() + _LEFT_ALONE_SECONDS
            raise
        else:
            self._again_at = 0.0
        finally:
            self._slots.release()

    def _check(self) -> None:
        """Return if the service answered last time, or if it is time for one caller to try it again."""
        with self._guard:
            now = time.monotonic()
            if now < self._again_at:
                raise StorageError(f"{self._name} did not answer, and is left alone for some seconds: try again later")
            if self._again_at:
                self._again_at = now + _LEFT_ALONE_SECONDS
