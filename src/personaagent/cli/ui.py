"""`personaagent ui`: MLflow's page for what a home folder mirrors."""

import os
import warnings
from contextlib import suppress
from typing import Annotated

import typer

from ..data.errors import needing
from ..data.files import private_folder
from .context import check_port, echo, settings


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
    check_port("127.0.0.1", port)
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
