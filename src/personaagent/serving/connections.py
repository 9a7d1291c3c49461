"""What is refused before the key is checked: long or late heads and bodies, and paths that are not UTF-8.

uvicorn bounds the size of a head where h11 reads it, and the time between two requests. It waits without end for the
first request of a connection, and for the rest of a head.
"""

import asyncio
from typing import Any, cast
from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from .problems import Problem, problem_response

HEAD_BYTES = 16_384
"""Most bytes of the request line and the headers together."""
HEAD_SECONDS = 10.0
"""From the opening of a connection, or the first byte of a later head, to the end of that head."""
_BODY_SECONDS = 30.0
"""From the end of a request's head to the end of its body."""
_DISCARDED = 16
"""How many times the limit is read of a body before it is refused: a client that still sends reads no answer."""


class BoundedProtocol(H11Protocol):
    """uvicorn's protocol over h11, which closes connections that have sent no request for a while.

    Where as many connections are open as may be (`limit_concurrency`), a new one takes the place of the one that has
    been without a request for the longest time. If all have a request, uvicorn answers 503.
    """

    _head_timeout: asyncio.TimerHandle | None = None
    _idle_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head; close another connection if there are too many."""
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        self._start_head_timeout()
        most = self.limit_concurrency
        if most is not None and len(self.connections) >= most:
            self._close_longest_idle()

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a head."""
        if self.is_idle and self._head_timeout is None:
            self._start_head_timeout()
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_head_timeout()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for the next request, and for the rest of its head if that has begun."""
        self._stop_head_timeout()
        self._idle_since = self.loop.time()
        super().on_response_complete()
        if self.is_idle and self.conn.trailing_data[0]:
            self._start_head_timeout()

    @property
    def is_idle(self) -> bool:
        """Whether it has no request."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is None or cycle.response_complete

    def _start_head_timeout(self) -> None:
        self._head_timeout = self.loop.call_later(HEAD_SECONDS, self._close_if_idle)

    def _stop_head_timeout(self) -> None:
        if self._head_timeout is not None:
            self._head_timeout.cancel()
            self._head_timeout = None

    def _close_if_idle(self) -> None:
        if self.is_idle:
            self.transport.abort()

    def _close_longest_idle(self) -> None:
        others = (cast("BoundedProtocol", other) for other in self.connections if other is not self)
        if idle := [other for other in others if other.is_idle]:
            longest = min(idle, key=lambda other: other._idle_since)
            self.connections.discard(longest)
            longest.transport.abort()


BOUNDS: dict[str, Any] = {
    "http": BoundedProtocol,
    "ws": "none",
    "h11_max_incomplete_event_size": HEAD_BYTES,
    # Of one process; most systems let one have 1,024 files and connections open.
    "limit_concurrency": 512,
    # Longer than clients and load balancers keep a connection (httpx 5 s, AWS 60 s): who closes first is not surprised.
    "timeout_keep_alive": 75,
}
"""What uvicorn is started with."""


def bounded_bodies(app: ASGIApp, most_bytes: int) -> ASGIApp:
    """Middleware that refuses bodies of more than `most_bytes`, and those that take too long to come."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        body = _Body(receive, most_bytes)

        async def send_unless_refused(message: Message) -> None:
            if body.refusal is None:
                await send(message)

        await app(scope, body.receive, send_unless_refused)
        if body.refusal is not None:
            await problem_response(Request(scope), body.refusal)(scope, receive, send)

    return answer


class _Body:
    """The body of a request as it comes."""

    def __init__(self, receive: Receive, most_bytes: int) -> None:
        self._receive, self._most_bytes = receive, most_bytes
        self._until = asyncio.get_running_loop().time() + _BODY_SECONDS
        self._read, self._is_whole = 0, False
        self.refusal: Problem | None = None

    async def receive(self) -> Message:
        """Return the next part, or what the server says after all of them."""
        if self._is_whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._next()
                while self._most_bytes < self._read <= _DISCARDED * self._most_bytes and message.get("more_body"):
                    message = await self._next()
        except TimeoutError:
            return self._refuse(408, f"The body of a request must come within {_BODY_SECONDS:g} s.")
        if self._read > self._most_bytes:
            return self._refuse(413, f"A request may have {self._most_bytes:,} bytes: send less at a time.")
        self._is_whole = not message.get("more_body")
        return message

    def _refuse(self, status: int, detail: str) -> Message:
        self.refusal = Problem(status, detail, {"Connection": "close"})
        return {"type": "http.disconnect"}

    async def _next(self) -> Message:
        message = await self._receive()
        self._read += len(message.get("body", b""))
        return message


def utf8_paths(app: ASGIApp) -> ASGIApp:
    """Middleware that refuses paths that are not UTF-8: decoded with losses, two could name one interaction."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            unquote_to_bytes(scope.get("raw_path") or b"").decode()
        except UnicodeDecodeError:
            problem = Problem(400, "The path is not percent-encoded UTF-8.")
            await problem_response(Request(scope), problem)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return answer
