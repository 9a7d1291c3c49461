"""The servers that `serve.py` measures, each in a process of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import httpx
import mlflow

READY_SECONDS = 120


class Server(NamedTuple):
    """A server that is up."""

    url: str
    process: "subprocess.Popen[bytes]"


class NotReadyError(Exception):
    """A server did not start; the end of what it said."""


def loopback_lm(latency_seconds: float, log: Path | None = None) -> AbstractContextManager[str]:
    sys.path.append(str(Path(__file__).parents[1] / "tests" / "journal"))
    from deterministic_lm import deterministic_lm

    return deterministic_lm(latency_seconds, log)


@contextmanager
def ours(folder: Path, api_base: str) -> Generator[Server]:
    port = free_port()
    options = ["--port", str(port), "--lm", "openai/made-up", "--api-base", api_base, "--align-every=0"]
    command = [sys.executable, "-m", "personaagent", "--home", str(folder), "serve", *options]
    with served(command, f"http://127.0.0.1:{port}", "/readyz", folder) as server:
        yield server


@contextmanager
def mlflows(folder: Path, api_base: str, *, keeping: bool = False) -> Generator[Server]:
    """Let MLflow serve the program of the first user of a home folder.

    Args:
        folder: The home folder.
        api_base: The LM's.
        keeping: Whether each call to the LM is recorded, and each exchange remembered, as our server does.
    """
    port, model = free_port(), folder / "model"
    mlflow.pyfunc.save_model(model, python_model=str(Path(__file__).with_name("_mlflow_model.py")), pip_requirements=[])
    options = ["--model-uri", str(model), "--port", str(port), "--env-manager", "local"]
    command = [sys.executable, "-m", "mlflow", "models", "serve", *options]
    where = {
        "PERSONAAGENT_HOME": str(folder),
        "PERSONAAGENT_LM": "openai/made-up",
        "PERSONAAGENT_API_BASE": api_base,
        "KEEPING": "1" if keeping else "",
    }
    with served(command, f"http://127.0.0.1:{port}", "/ping", folder, where) as server:
        yield server


@contextmanager
def served(
    command: Sequence[str], url: str, ready: str, folder: Path, settings: Mapping[str, str] | None = None
) -> Generator[Server]:
    """Run a server, with whatever processes it starts, while the block runs.

    Raises:
        NotReadyError: It ended, or did not answer in time.
    """
    own = {"OPENAI_API_KEY": "sk-made-up", "PERSONAAGENT_EMBEDDER": "minilm", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **own, "PATH": path, **(settings or {})}
    log = folder / "server.log"
    with log.open("wb") as lines:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=lines, stderr=lines, start_new_session=True
        )
    try:
        wait_until_ready(url + ready, process, log)
        yield Server(url, process)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise NotReadyError(log.read_text(errors="replace")[-1000:])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]
