"""`Idempotency-Key`: a write that is sent again is answered as it was, and done once.

The write is claimed in the store before it is done, so that neither another worker nor a restart does it again. What it
stores is stored under the id of the claim: done again after its process was killed, it finds that it was stored.
Streams are not kept: sent again, they are made of what was stored.
"""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from functools import partial
from http import HTTPStatus
from typing import Any
from weakref import WeakValueDictionary

from fastapi import Request, Response
from fastapi.routing import APIRoute

from ..data.api_key import ApiKey
from ..data.errors import InputError
from ..data.store import user_key
from ..data.store.idempotency import Write
from .access import USER_HEADER, bearer, user_id_of
from .claims import Claim, claimed
from .deployment import Deployment
from .problems import Problem

_MOST_CHARACTERS = 200
_POLL_SECONDS = 0.1
_LONGEST_WAIT_SECONDS = 30.0
_REPLAYED = {"Idempotent-Replay": "true"}

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class IdempotentRoute(APIRoute):
    """A route whose POSTs are done once for each key and `Idempotency-Key`."""

    def get_route_handler(self) -> Handler:
        """Return the handler around FastAPI's own."""
        handler = super().get_route_handler()
        locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

        async def handle_once(request: Request) -> Response:
            token = request.headers.get("Idempotency-Key")
            if token is None or request.method != "POST":
                return await handler(request)
            if not 0 < len(token) <= _MOST_CHARACTERS:
                raise Problem(400, f"Idempotency-Key must have 1 to {_MOST_CHARACTERS} characters.")
            key = await _key_of(request)
            if key is None:
                return await handler(request)
            async with locks.setdefault((key.key_id, token), asyncio.Lock()):
                return await _IdempotentRequest(request, key, token).handled_by(handler)

        return handle_once


class _IdempotentRequest:
    """A request with an `Idempotency-Key`."""

    def __init__(self, request: Request, key: ApiKey, token: str) -> None:
        self._request, self._key_id, self._token = request, key.key_id, token
        self._user_key = _user_key_of(request, key)
        deployment: Deployment = request.app.state.deployment
        self._log, self._workers = deployment.store.idempotency, deployment.workers
        self._worker = deployment.run.run_id

    async def handled_by(self, handler: Handler) -> Response:
        """Do the write, or answer it again."""
        request_hash = await _hash_of(self._request)
        asked = (self._key_id, self._token, request_hash)
        write, is_new = await asyncio.to_thread(self._log.claim, *asked, worker=self._worker, user_key=self._user_key)
        if write.request_hash != request_hash:
            raise Problem(422, "Idempotency-Key: another request was sent with it; give each its own.")
        if not is_new:
            write = await self._done_or_taken_over(write)
        if write.status == HTTPStatus.GONE:
            raise Problem(410, "What came of this request was forgotten.")
        if write.status is not None:
            return Response(write.body, write.status, _REPLAYED, media_type="application/json")
        return await self._do(handler, write, was_begun=not is_new)

    async def _do(self, handler: Handler, write: Write, *, was_begun: bool) -> Response:
        give_up = partial(self._log.give_up, self._key_id, self._token, write)
        try:
            with claimed(Claim(write.write_id, was_begun, give_up)):
                response = await handler(self._request)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(give_up))
            raise
        body = getattr(response, "body", None)
        if isinstance(body, bytes) and response.status_code < HTTPStatus.MULTIPLE_CHOICES:
            kept = (self._key_id, self._token, write, response.status_code, body.decode())
            await asyncio.to_thread(self._log.finish, *kept)
        if was_begun:
            response.headers.update(_REPLAYED)
        return response

    async def _done_or_taken_over(self, write: Write) -> Write:
        """Return a write that was begun before once it is done, or once it can be done in this worker."""
        deadline = asyncio.get_running_loop().time() + _LONGEST_WAIT_SECONDS
        while write.status is None and write.worker != self._worker:
            if await asyncio.to_thread(self._log.has_stored, self._user_key, write):
                break
            if not await asyncio.to_thread(self._workers.is_alive, write.worker):
                taking_over = (self._key_id, self._token, write, self._worker)
                if await asyncio.to_thread(self._log.take_over, *taking_over):
                    return write.model_copy(update={"worker": self._worker})
            await asyncio.sleep(_POLL_SECONDS)
            known = await asyncio.to_thread(self._log.find, self._key_id, self._token)
            if known is None or asyncio.get_running_loop().time() > deadline:  # It failed there, or takes long.
                raise Problem(409, "This request is under way: send it again in a moment.", {"Retry-After": "1"})
            write = known
        return write


def _user_key_of(request: Request, key: ApiKey) -> str:
    """Return the key of the user whom a request is about; empty if it names no user, or none that there can be."""
    try:
        return user_key(user_id_of(key, request.headers.get(USER_HEADER)))
    except (Problem, InputError):
        return ""


async def _key_of(request: Request) -> ApiKey | None:
    if (sent := await bearer(request)) is None:
        return None
    return await asyncio.to_thread(request.app.state.deployment.store.keys.find, sent.credentials)


async def _hash_of(request: Request) -> str:
    """Return a hash of what is asked, and for whom."""
    named = request.headers.get(USER_HEADER, "")
    asked = "\n".join([request.method, request.url.path, named]).encode() + b"\n" + await request.body()
    return hashlib.sha256(asked).hexdigest()
