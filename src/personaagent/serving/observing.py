"""Metrics, log lines, health and MLflow traces of a server, without the contents of requests and the names of users."""

import json
import logging
import os
import random
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

import dspy
from dspy.utils.callback import ACTIVE_CALL_ID, BaseCallback
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..data.call import as_written
from ..data.errors import TrackingError
from ..optimizers.tracking import Tracker, mlflow_errors
from .configuration import METRICS_FOLDER
from .problems import request_id

if TYPE_CHECKING:
    from mlflow.entities import LiveSpan

_NO_ROUTE = "(none)"
"""The route of a request for something that there is not: its path is the client's own words."""
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

_log = logging.getLogger(__name__)
_requests_log = logging.getLogger("personaagent.requests")


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "personaagent_requests", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "personaagent_request_seconds",
            "Seconds until the answer was sent.",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.under_way = Gauge(
            "personaagent_requests_under_way",
            "Requests under way.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )

    def text(self) -> bytes:
        """Return the metrics as Prometheus reads them; those of all processes if they share a folder."""
        registry = self.registry
        if METRICS_FOLDER in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)
        return generate_latest(registry)


def observed(app: ASGIApp, metrics: Metrics) -> ASGIApp:
    """Middleware that counts and logs each request, and puts its id into the headers of the response."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500
        request = Request(scope, receive)
        name = request_id(request)

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", name.encode())]
            await send(message)

        with metrics.under_way.track_inprogress():
            try:
                await app(scope, receive, send_with_id)
            finally:
                _count(metrics, request, status, time.perf_counter() - began)

    return answer


def _count(metrics: Metrics, request: Request, status: int, seconds: float) -> None:
    route = getattr(request.scope.get("route"), "path_format", _NO_ROUTE)
    metrics.requests.labels(request.method, route, str(status)).inc()
    metrics.seconds.labels(request.method, route).observe(seconds)
    line = {
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "request": request_id(request),
        "method": request.method,
        "route": route,
        "status": status,
        "ms": round(seconds * 1000, 1),
    }
    _requests_log.info("%s", json.dumps(line))


def add_observation(app: FastAPI, metrics: Metrics) -> None:
    """Add the endpoints for those who run the server: health, readiness, metrics."""

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
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)


class AnswerTracker(Tracker):
    """Traces answers to MLflow, in an experiment of their own.

    A trace has the names of modules, tools and models, when each began and ended and whether it failed, and the id of
    the interaction that the answer became. MLflow sends it in the background; what it cannot send is lost, and said in
    the log. `share` says how many of the answers are traced, 0 to 1.
    """

    experiment: ClassVar[str] = "personaagent answers"

    def __init__(self, uri: str, artifacts: str | None = None, *, share: float = 0.0) -> None:
        super().__init__(uri, artifacts)
        self._share = share
        self._experiment_id: str | None = None

    @contextmanager
    def ready(self) -> Generator[None]:
        """Send traces while the block runs; none at all, which the log says, if MLflow cannot be reached as it begins.

        MLflow knows one URI for all traces of a process: while this runs, it is this one.
        """
        if not self._share:
            yield
            return
        import mlflow

        try:
            with mlflow_errors(self.uri, "answers are not traced until the server is started again"):
                self._experiment_id = self.experiment_id(self.client())
                mlflow.set_tracking_uri(self.uri)
        except TrackingError as error:
            _log.warning("%s", error)
        try:
            yield
        finally:
            if self._experiment_id is not None:
                mlflow.flush_trace_async_logging()

    @contextmanager
    def trace(self, interaction_id: str) -> Generator[None]:
        """Trace what the block does, for a random share of the answers."""
        if self._experiment_id is None or random.random() >= self._share:
            yield
            return
        import mlflow

        asked = {"interaction_id": interaction_id}
        root = mlflow.start_span_no_context("answer", attributes=asked, experiment_id=self._experiment_id)
        try:
            with dspy.context(callbacks=[*dspy.settings.callbacks, _Spans(root)]):
                yield
        except BaseException:
            root.end(status="ERROR")
            raise
        root.end()


class _Spans(BaseCallback):
    """Makes a span of each call that DSPy makes, under that of the call that it is part of."""

    def __init__(self, root: "LiveSpan") -> None:
        self._root = root
        self._open: dict[str, LiveSpan] = {}

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._begin(call_id, type(instance).__name__, "CHAIN")

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._begin(call_id, as_written(instance.model), "LLM")

    def on_tool_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._begin(call_id, instance.name, "TOOL")

    def on_module_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        self._open.pop(call_id).end(status="ERROR" if exception else "OK")

    on_lm_end = on_tool_end = on_module_end

    def _begin(self, call_id: str, name: str, kind: str) -> None:
        import mlflow

        parent = self._open.get(ACTIVE_CALL_ID.get() or "", self._root)
        self._open[call_id] = mlflow.start_span_no_context(name, span_type=kind, parent_span=parent)
