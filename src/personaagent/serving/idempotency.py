"""`Idempotency-Key`: a write that is sent again is answered as it was, and done once.

The write is claimed in the store before it is done, so that neither another worker nor a restart does it again. What it
stores is stored under the id of the claim (`new_id`): done again after its process was killed, it finds that it was
stored. Streams are not kept: sent again, they are made of what was stored.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from fastapi import Request, Response
from fastapi.routing import APIRoute

from ..data.api_key import ApiKey, user_of_tenant
from ..data.errors import InputError
from ..data.store import user_key
from ..data.store.idempotency import Write
from .named import NAMED, user_named
from .others import is_alive
from .problems import Problem

_MOST_CHARACTERS = 200
_LOOK_SECONDS = 0.1
_LONGEST_WAIT_SECONDS = 30.0
_REPLAYED = {"Idempotent-Replay": "true"}

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Claim(NamedTuple):
    """The write that is being done here."""

    write_id: str
    """What it stores is stored under this id."""
    was_begun: bool
    """Whether it was begun before, and may be stored already."""
    give_up: Callable[[], None]
    """Is to be called when it fails after its response has begun: sent again, it is done."""


_claim: ContextVar[Claim | None] = ContextVar("personaagent_claim", default=None)


def claim_here() -> Claim | None:
    """Return the claim of the request that is being answered, if it has one."""
    return _claim.get()


def new_id(digits: int = 24) -> str:
    """Return the id for what a request stores: that of its claim, so that it is the same when it is sent again."""
    claim = _claim.get()
    return claim.write_id[:digits] if claim else secrets.token_hex(digits // 2)


class IdempotentRoute(APIRoute):
    """A route whose POSTs are done once for each key and `Idempotency-Key`."""

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
                return await _Once(request, key, token).answered(usual)

        return once


class _Once:
    """One request with an `Idempotency-Key`."""

    def __init__(self, request: Request, key: ApiKey, token: str) -> None:
        self._request, self._key_id, self._token = request, key.key_id, token
        self._user_key = _about(request, key)
        self._deployment = request.app.state.deployment
        self._log = self._deployment.store.idempotency
        self._worker = self._deployment.run.run_id

    async def answered(self, usual: Handler) -> Response:
        """Do the write, or answer it again."""
        write, is_new = await asyncio.to_thread(
            self._log.claim,
            self._key_id,
            self._token,
            await _hash_of(self._request),
            worker=self._worker,
            user_key=self._user_key,
        )
        if write.request_hash != await _hash_of(self._request):
            raise Problem(422, "Idempotency-Key: another request was sent with it; give each its own.")
        if not is_new:
            write = await self._ours_or_done(write)
        if write.status == HTTPStatus.GONE:
            raise Problem(410, "What came of this request was forgotten.")
        if write.status is not None:
            return Response(write.body, write.status, _REPLAYED, media_type="application/json")
        return await self._done(usual, write, was_begun=not is_new)

    async def _done(self, usual: Handler, write: Write, *, was_begun: bool) -> Response:
        give_up = partial(self._log.give_up, self._key_id, self._token, write)
        try:
            with _claimed(Claim(write.write_id, was_begun, give_up)):
                response = await usual(self._request)
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

    async def _ours_or_done(self, write: Write) -> Write:
        """Return a write that was begun before once it is done, or once it can be done here.

        Raises:
            Problem: Another process is still doing it.
        """
        deadline = asyncio.get_running_loop().time() + _LONGEST_WAIT_SECONDS
        while write.status is None and write.worker != self._worker:
            if await asyncio.to_thread(self._log.has_stored, self._user_key, write):
                break
            if not await asyncio.to_thread(is_alive, self._deployment.others, write.worker):
                taking = (self._key_id, self._token, write, self._worker)
                if await asyncio.to_thread(self._log.take_over, *taking):
                    return write.model_copy(update={"worker": self._worker})
            await asyncio.sleep(_LOOK_SECONDS)
            known = await asyncio.to_thread(self._log.find, self._key_id, self._token)
            if known is None or asyncio.get_running_loop().time() > deadline:  # It failed there, or takes long.
                raise Problem(409, "This request is under way: send it again in a moment.", {"Retry-After": "1"})
            write = known
        return write


@contextmanager
def _claimed(claim: Claim) -> Generator[None]:
    token = _claim.set(claim)
    try:
        yield
    finally:
        _claim.reset(token)


def _about(request: Request, key: ApiKey) -> str:
    """Return the key of the user whom a request is about; nothing if it names nobody who can be."""
    if key.role == "user" and key.user_id is not None:
        return user_key(key.user_id)
    try:
        named = user_named(request.headers.get(NAMED))
        return user_key(user_of_tenant(key.tenant, named)) if named else ""
    except (Problem, InputError):
        return ""


async def _key_of(request: Request) -> ApiKey | None:
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme.casefold() != "bearer":
        return None
    return await asyncio.to_thread(request.app.state.deployment.store.keys.find, credentials)


async def _hash_of(request: Request) -> str:
    """Return a hash of what is asked, and for whom."""
    named = request.headers.get(NAMED, "")
    said = "\n".join([request.method, request.url.path, named]).encode() + b"\n" + await request.body()
    return hashlib.sha256(said).hexdigest()
