"""What can be seen of a server without seeing what it is asked: counts, times, and a line for each request."""

import asyncio
import json
import logging
import time
from datetime import UTC, datetime

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import problem_response, request_id

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
"""Set by `serve` where several processes are counted as one."""

_ELSEWHERE = "(none)"
"""The route of a request for something that there is not: its path is the client's own words."""
_THROWN_AWAY = 16
"""Times as many bytes as a request may have are read before its answer: a client that still sends would not see it."""
_BODY_SECONDS = 30.0
"""From the end of a request's head to the end of its body."""
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

_log = logging.getLogger("personaagent.requests")


class Metrics:
    """The counts of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "personaagent_requests", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "personaagent_request_seconds",
            "Seconds until the answer was sent.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.under_way = Gauge(
            "personaagent_requests_under_way",
            "Requests under way.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )

    def text(self, shared: bool) -> bytes:
        """Return the counts as Prometheus reads them; those of all processes if they share a folder."""
        if not shared:
            return generate_latest(self.registry)
        every = CollectorRegistry()
        MultiProcessCollector(every)
        return generate_latest(every)


class Observed:
    """Counts and logs each request, gives it its id, and refuses bodies that are too large or take too long to come.

    Args:
        app: What answers.
        metrics: Where is counted.
        most_bytes: Of one body.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, most_bytes: int) -> None:
        self._app, self._metrics, self._most_bytes = app, metrics, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500
        request = Request(scope, receive)
        name = request_id(request)

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", name.encode())]
            await send(message)

        with self._metrics.under_way.track_inprogress():
            try:
                await self._answered(request, receive, sent)
            finally:
                self._note(request, status, time.perf_counter() - began)

    async def _answered(self, request: Request, receive: Receive, send: Send) -> None:
        """Let the app answer, unless its body is refused: what else comes of one too large is thrown away."""
        body = _Body(receive, self._most_bytes)

        async def sent(message: Message) -> None:
            if body.refused is None:
                await send(message)

        await self._app(request.scope, body.received, sent)
        if body.refused is not None:
            status, detail = body.refused
            refusal = problem_response(request, status, detail, {"Connection": "close"})
            await refusal(request.scope, receive, send)

    def _note(self, request: Request, status: int, seconds: float) -> None:
        route = getattr(request.scope.get("route"), "path_format", _ELSEWHERE)
        self._metrics.requests.labels(request.method, route, str(status)).inc()
        self._metrics.seconds.labels(request.method, route).observe(seconds)
        line = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "request": request_id(request),
            "method": request.method,
            "route": route,
            "status": status,
            "ms": round(seconds * 1000, 1),
        }
        _log.info("%s", json.dumps(line))


class _Body:
    """The body of a request as it comes."""

    def __init__(self, receive: Receive, most_bytes: int) -> None:
        self._receive, self._most_bytes = receive, most_bytes
        self._until = asyncio.get_running_loop().time() + _BODY_SECONDS
        self._read, self._is_whole = 0, False
        self.refused: tuple[int, str] | None = None
        """The status and why."""

    async def received(self) -> Message:
        """Return the next part, or what the server says after all of them."""
        if self._is_whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._next()
                while self._read > self._most_bytes and message.get("more_body") and self._read <= self._thrown_away:
                    message = await self._next()
        except TimeoutError:
            self.refused = 408, f"The body of a request must come within {_BODY_SECONDS:g} s."
            return {"type": "http.disconnect"}
        if self._read > self._most_bytes:
            self.refused = 413, f"A request may have {self._most_bytes:,} bytes: send less at a time."
            return {"type": "http.disconnect"}
        self._is_whole = not message.get("more_body")
        return message

    @property
    def _thrown_away(self) -> int:
        return _THROWN_AWAY * self._most_bytes

    async def _next(self) -> Message:
        message = await self._receive()
        self._read += len(message.get("body", b""))
        return message


def add_observation(app: FastAPI, metrics: Metrics, *, shared: bool) -> None:
    """Add the endpoints for whoever runs the server."""

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        return Response("ok\n", media_type="text/plain")

    @app.get("/readyz", include_in_schema=False)
    def readyz(request: Request) -> Response:
        deployment = getattr(request.app.state, "deployment", None)
        if deployment is None or deployment.is_draining:
            return Response("not ready\n", 503, media_type="text/plain")
        deployment.store.ping()
        return Response("ready\n", media_type="text/plain")

    @app.get("/metrics", include_in_schema=False)
    def counted() -> Response:
        return Response(metrics.text(shared), media_type=CONTENT_TYPE_LATEST)
