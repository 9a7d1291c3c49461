"""`Idempotency-Key`: a write that is sent again is answered as it was, and done once."""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any
from weakref import WeakValueDictionary

from fastapi import Request, Response
from fastapi.routing import APIRoute

from ..data.api_key import ApiKey
from ..data.store.idempotency import Answered
from .problems import Problem

_MOST_CHARACTERS = 200

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class IdempotentRoute(APIRoute):
    """A route whose POSTs are done once for each key and `Idempotency-Key`; streams are not kept."""

    def get_route_handler(self) -> Handler:
        """Return the handler around FastAPI's own."""
        usual = super().get_route_handler()
        under_way: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

        async def once(request: Request) -> Response:
            token = request.headers.get("Idempotency-Key")
            if token is None or request.method != "POST":
                return await usual(request)
            if not 0 < len(token) <= _MOST_CHARACTERS:
                raise Problem(400, f"Idempotency-Key must have 1 to {_MOST_CHARACTERS} characters.")
            key = await _key_of(request)
            if key is None:
                return await usual(request)
            async with under_way.setdefault((key.key_id, token), asyncio.Lock()):
                return await _once(request, key, token, usual)

        return once


async def _once(request: Request, key: ApiKey, token: str, usual: Handler) -> Response:
    log = request.app.state.deployment.store.idempotency
    hashed = await _hash_of(request)
    known: Answered | None = await asyncio.to_thread(log.find, key.key_id, token)
    if known is not None and known.request_hash != hashed:
        raise Problem(422, "Idempotency-Key: another request was sent with it; give each its own.")
    if known is not None:
        return Response(known.body, known.status, {"Idempotent-Replay": "true"}, media_type="application/json")
    response = await usual(request)
    body = getattr(response, "body", None)
    if isinstance(body, bytes) and response.status_code < HTTPStatus.MULTIPLE_CHOICES:
        answered = Answered(request_hash=hashed, status=response.status_code, body=body.decode())
        await asyncio.to_thread(log.keep, key.key_id, token, answered, user_key=request.state.user_key)
    return response


async def _key_of(request: Request) -> ApiKey | None:
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme.casefold() != "bearer":
        return None
    return await asyncio.to_thread(request.app.state.deployment.store.keys.find, credentials)


async def _hash_of(request: Request) -> str:
    """Return a hash of what is asked, and for whom."""
    named = request.headers.get("X-PersonaAgent-User", "")
    said = "\n".join([request.method, request.url.path, named]).encode() + b"\n" + await request.body()
    return hashlib.sha256(said).hexdigest()
