"""Chroma as a server, asked over its REST interface, version 2, for as much as the index needs.

Chroma's own client waits without limit for a server that hangs, in its constructor already, where no timeout can be set
yet, and raises bare exceptions for some of its errors.
"""

from collections.abc import Mapping, Sequence
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
        url: `http://HOST:PORT`. The server asks nobody for a password, so nobody else may be able to reach it.

    Raises:
        SetupError: The URL is not of this form.
    """

    def __init__(self, url: str) -> None:
        self.url = _checked(url)
        timeout = httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS)
        self._http = httpx.Client(base_url=self.url + _DATABASE, timeout=timeout)

    def list_collections(self) -> "list[ServerCollection]":
        """Return all collections, those of strangers included.

        Raises:
            StorageError: The server does not answer as it should.
        """
        return [ServerCollection(self, one) for one in self._read(_RECORDS, self.ask("GET", "/collections"))]

    def get_or_create_collection(
        self,
        name: str,
        *,
        configuration: Mapping[str, Mapping[str, str | int]],
        metadata: Mapping[str, str | int],
        embedding_function: None,
    ) -> "ServerCollection":
        """Return the collection of a name as it is; only a new one gets this configuration and this metadata.

        Raises:
            StorageError: The server does not answer as it should.
        """
        wanted = {"name": name, "configuration": configuration, "metadata": metadata, "get_or_create": True}
        return ServerCollection(self, self._read(_RECORD, self.ask("POST", "/collections", wanted)))

    def delete_collection(self, name: str) -> None:
        """Delete a collection, unless another process has done so.

        Raises:
            StorageError: The server does not answer as it should.
        """
        self.ask("DELETE", f"/collections/{name}", may_lack=True)

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def ask(self, method: str, path: str, body: object = None, *, may_lack: bool = False) -> bytes:
        """Send one request and return what the server says.

        Args:
            method: HTTP's.
            path: What is asked of the database.
            body: Is sent as JSON; by default nothing is.
            may_lack: Whether all is well, too, if what is named is not there.

        Raises:
            StorageError: The server does not answer as it should.
        """
        try:
            answer = self._http.request(method, path, content=None if body is None else to_json(body))
            if not (may_lack and answer.status_code == HTTPStatus.NOT_FOUND):
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
        self.configuration_json = {kind: one for kind, one in record.configuration_json.items() if one is not None}

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
        """Delete rows by their ids; those that are not there are no matter."""
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
