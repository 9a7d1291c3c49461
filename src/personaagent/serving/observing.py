"""What can be seen of a server without seeing what it is asked: counts, times, and a line for each request."""

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
    """Counts and logs each request, gives it its id, and refuses bodies that are too large.

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
        """Let the app answer, unless more bytes come than it may read: these are thrown away, and refused."""
        read, is_too_large = 0, False

        async def received() -> Message:
            nonlocal read, is_too_large
            message = await receive()
            read += len(message.get("body", b""))
            if read <= self._most_bytes:
                return message
            is_too_large = True
            while message.get("more_body") and read <= _THROWN_AWAY * self._most_bytes:
                message = await receive()
                read += len(message.get("body", b""))
            return {"type": "http.disconnect"}

        async def sent(message: Message) -> None:
            if not is_too_large:
                await send(message)

        await self._app(request.scope, received, sent)
        if is_too_large:
            await self._too_large(request)(request.scope, receive, send)

    def _too_large(self, request: Request) -> Response:
        detail = f"A request may have {self._most_bytes:,} bytes: send less at a time."
        return problem_response(request, 413, detail)

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
