"""Erasing a user whose personas are mirrored to an MLflow server: what is gone at once, and what its keeper must do."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from personaagent import lms
from personaagent.data.files import compact
from personaagent.erasure import erase
from personaagent.home import Home
from personaagent.settings import Settings
from personaagent.testing import HashEmbedder

from .made_up import ERASED, KEPT, TRACE, WORD, live_through, traces

START_SECONDS = 120


class MlflowServer(NamedTuple):
    """A server with a SQLite file and a folder of artifacts, which nobody but it writes."""

    url: str
    folder: Path

    def files_with_traces(self) -> set[str]:
        """Return the files that hold a trace of the user."""
        return {file.name for file in self.folder.rglob("*") if file.is_file() and _has_trace(file.read_bytes())}

    def collect(self) -> None:
        """Do what the server's keeper does: take deleted runs out, and compact the database."""
        collecting = [*_MLFLOW, "gc", "--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
        subprocess.run(collecting, env={**os.environ, "MLFLOW_TRACKING_URI": self.url}, check=True, capture_output=True)
        compact(self.folder / "mlflow.db")


_MLFLOW = [sys.executable, "-m", "mlflow"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    places = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")]
    command = [*_MLFLOW, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *places]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process)
        yield MlflowServer(f"http://127.0.0.1:{port}", folder)
    finally:
        os.killpg(process.pid, 9)
        process.wait()


@pytest.mark.slow
def test_what_a_server_can_be_asked_to_forget_is_gone_and_the_rest_is_named(
    tmp_path: Path, server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lms, "open_embedder", lambda _: HashEmbedder())
    with Home(Settings(home=tmp_path, tracking_uri=server.url)) as home:
        live_through(home, ERASED, WORD)
        kept = live_through(home, KEPT, "plain")
        assert {"mlflow.db", "losses.json", "persona.diff", "program.json"} <= server.files_with_traces()
        receipt = erase(home, ERASED)
        assert (receipt.removed["prompt_versions"], receipt.removed["tracked_runs"]) == (2, 1)
        assert receipt.left == (
            "names and numbers of 1 deleted runs on the MLflow server: run its `mlflow gc`",
            "deleted rows in the files of MLflow's database: compact it where it is (SQLite: VACUUM)",
        )
        assert server.files_with_traces() <= {"mlflow.db", "mlflow.db-wal", "server.log"}
        server.collect()
        assert server.files_with_traces() <= {"server.log"}  # It names whom it was asked for: the key, and no word.
        assert TRACE not in (server.folder / "server.log").read_text().lower()
        assert home.sync(kept) == 0


def _has_trace(data: bytes) -> bool:
    return any(trace.lower() in data.lower() for trace in traces(ERASED))


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    pytest.fail("the MLflow server did not start")
