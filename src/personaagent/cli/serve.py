"""`personaagent serve` and `personaagent ui`: one API for many users, and MLflow's page for what is mirrored."""

import logging
import os
import socket
import sys
import warnings
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..data.errors import SetupError, needing
from ..data.files import private_folder
from .context import AskingCertified, Equipment, Limits, echo, freeze_garbage, grouped, settings, warn_of_unused

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ..serving.configuration import Serving
    from ..serving.deployment import Deployment
    from ..settings import Settings

_CONFIGURED = "PERSONAAGENT_SERVING"
"""Tells the worker processes how to serve; settings travel as themselves."""
_DRAIN_SECONDS = 20
"""How long answers may end after SIGTERM; what goes on is cut off, alignments some seconds later."""


@dataclass(frozen=True)
class Listening:
    """Where the server listens."""

    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 for every one.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(help="Port to listen at; 0 for any that is free.", min=0, max=65535)] = 8000
    workers: Annotated[
        int, typer.Option(help="Processes; several need PostgreSQL and a Chroma server.", min=1, max=256)
    ] = 1


@dataclass(frozen=True)
class Service:
    """How it answers and learns."""

    align_every: Annotated[
        int, typer.Option(help="Ground truths of a user between two alignments; 0 for never.", min=0)
    ] = 10
    n: Annotated[int, typer.Option(help="Latest interactions that an alignment simulates.", min=1)] = 3
    preset: Annotated[
        Literal["lean", "paper"],
        typer.Option(help="lean: one call an answer; paper: three, and Wikipedia."),
    ] = "lean"
    user_megabytes: Annotated[int, typer.Option(help="What one user may store.", min=0)] = 64
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(help="Origin of web pages that may call it from a browser (https://app.example.com); repeatable."),
    ] = None
    trace_share: Annotated[
        float, typer.Option(help="Share of the answers traced to MLflow, without contents.", min=0, max=1)
    ] = 0.0


@grouped
def serve(
    context: typer.Context,
    listening: Listening,
    service: Service,
    equipment: Equipment,
    limits: Limits,
    asking: AskingCertified,
) -> None:
    """Serve every user of the home folder: OpenAI's API, the native one, and a page. Make keys with `keys create`."""
    from ..home import Home, is_shared
    from ..lms.models import embedded_lm

    _check_port(listening.host, listening.port)
    with needing("serve"):
        import uvicorn

        import_module("personaagent.serving.app")  # Workers import it, who could not say it in one line.
    from ..serving.connections import BOUNDS

    configured = settings(context, asking)
    several = listening.workers > 1
    shared = is_shared(configured)
    if several and not shared:
        raise SetupError(
            "several workers need a store and an index that they can share: set PERSONAAGENT_DATABASE to "
            "postgresql://USER@HOST/NAME and PERSONAAGENT_CHROMA to the URL of a Chroma server, or leave out --workers"
        )
    logging.getLogger("personaagent").setLevel(logging.INFO)
    if several:
        if configured.lm == "embedded":
            embedded_lm().bring()
        with equipment.opened() as tools:  # What is wrong is said once here, and not by every worker.
            Home(configured, tools=tools).close()
    with ExitStack() as stack:
        serving = _serving(service, equipment, limits, configured, shared=shared)
        _tell_workers(configured, serving, stack if several else None)
        uvicorn.run(
            f"{__name__}:application",
            factory=True,
            host=listening.host,
            port=listening.port,
            workers=listening.workers,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_DRAIN_SECONDS,
            **BOUNDS,
        )


def application() -> "FastAPI":
    """Return the application of this process, as the environment says. What it needs is open when it is returned."""
    from ..serving.app import create_app
    from ..serving.configuration import Serving

    _log_lines()
    serving = Serving.from_json(os.environ[_CONFIGURED])
    closing, context = ExitStack(), copy_context()  # What is opened here is closed in another task of the event loop.
    deployment = context.run(closing.enter_context, _deployed(serving))
    freeze_garbage()

    @contextmanager
    def deploy() -> "Generator[Deployment]":
        try:
            yield deployment
        finally:
            context.run(closing.close)

    return create_app(deploy, serving.origins)


@contextmanager
def _deployed(serving: "Serving") -> "Generator[Deployment]":
    from ..home import Home
    from ..lms import open_embedder
    from ..programs.tools.mcp import tools_opened
    from ..serving.deployment import deployed
    from ..settings import Settings

    settings = Settings()
    embedder = open_embedder(settings.embedder)
    _ = embedder.fingerprint  # A file that is missing is said now, and not at the first question.
    with (
        tools_opened(serving.tools, serving.mcp) as tools,
        Home(settings, embedder, tools=tools, guest=False) as home,
        deployed(home, serving) as deployment,
    ):
        if serving.agent.preset == "lean":
            warn_of_unused(tools, deployment.run.lm("agent"))
        yield deployment


def _serving(
    service: Service, equipment: Equipment, limits: Limits, configured: "Settings", *, shared: bool
) -> "Serving":
    from ..programs import AgentSettings
    from ..serving.configuration import Serving

    return Serving(
        align_every=service.align_every,
        n=service.n,
        agent=AgentSettings(preset=service.preset),
        tools=tuple(equipment.tool or ()),
        mcp=tuple(equipment.mcp or ()),
        alone=not shared,
        trace_share=service.trace_share,
        limits=limits.of_key(Serving().limits),
        origins=tuple(service.cors_origin or ()),
        user_bytes=service.user_megabytes * 2**20,
        answer_seconds=2 * configured.lm_timeout,
    )


def _tell_workers(configured: "Settings", serving: "Serving", counting: ExitStack | None) -> None:
    """Write down for the worker processes how to serve, and where they count together."""
    from ..serving.configuration import METRICS_FOLDER

    for name, value in configured.model_dump(exclude_none=True).items():
        os.environ[f"PERSONAAGENT_{name.upper()}"] = str(value)
    os.environ[_CONFIGURED] = serving.to_json()
    if counting is not None:
        os.environ[METRICS_FOLDER] = counting.enter_context(TemporaryDirectory(prefix="personaagent-metrics-"))


def _log_lines() -> None:
    """Write the lines of requests to standard output, and everything else to standard error."""
    requests = logging.getLogger("personaagent.requests")
    requests.setLevel(logging.INFO)
    requests.propagate = False
    lines = logging.StreamHandler(sys.stdout)
    lines.setFormatter(logging.Formatter("%(message)s"))
    requests.handlers = [lines]
    logging.getLogger("uvicorn.error").setLevel(logging.INFO)


def ui(
    context: typer.Context,
    port: Annotated[int, typer.Option(help="Port to listen at.", min=1, max=65535)] = 5000,
) -> None:
    """Show personas, alignments and evaluations in MLflow's page, to this machine alone, until Ctrl-C."""
    configured = settings(context)
    uri, artifacts = configured.mlflow
    if artifacts is None:
        echo(f"MLflow is a server already: {uri}")
        return
    _check_port("127.0.0.1", port)
    private_folder(configured.home)
    # MLflow's jobs are for scorers that run in its server, which are none of ours.
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with needing("ui"):
        import uvicorn
        from mlflow.server.constants import ARTIFACT_ROOT_ENV_VAR, BACKEND_STORE_URI_ENV_VAR

    os.environ |= {BACKEND_STORE_URI_ENV_VAR: uri, ARTIFACT_ROOT_ENV_VAR: artifacts}
    # `mlflow server` would import all of MLflow in a process of its own only to start this in another.
    server = uvicorn.Server(uvicorn.Config("mlflow.server.fastapi_app:app", port=port, log_level="warning"))
    with warnings.catch_warnings(action="ignore"):
        server.config.load()
    echo(f"MLflow's page: http://127.0.0.1:{port} (Ctrl-C ends it)")
    with suppress(KeyboardInterrupt):
        server.run()


def _check_port(host: str, port: int) -> None:
    """Refuse a port that cannot be listened at, before anything is opened."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]  # Python adds the address.
        raise SetupError(f"port {port} of {host}: {reason}: choose another with --port") from error
