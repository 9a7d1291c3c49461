"""A real Chroma server of the tests' own, empty for each test that wants it."""

import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from personaagent.data.memory.chroma_server import ChromaServer

from .postgres import tied_to_us

_START_SECONDS = 60
CHROMA = "import sys, chromadb_rust_bindings as rust; rust.cli(['chroma', *sys.argv[1:]])"
"""What the program `chroma` does, less its import of everything else that Chroma has: that takes seconds."""


@pytest.fixture(scope="session")
def chroma_server() -> Iterator[str]:
    """The URL of a server, started for the first test that wants it and stopped after the last."""
    with TemporaryDirectory(prefix="personaagent-chroma-") as folder, running_chroma(Path(folder), free_port()) as url:
        yield url


@pytest.fixture
def chroma_url(chroma_server: str) -> str:
    """The URL of a server that has nothing yet."""
    with closing(ChromaServer(chroma_server)) as client:
        for collection in client.list_collections():
            client.delete_collection(collection.name)
    return chroma_server


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


@contextmanager
def running_chroma(folder: Path, port: int) -> Generator[str]:
    """Serve a folder, and give the server's URL."""
    options = ["--path", folder / "data", "--host", "127.0.0.1", "--port", str(port)]
    serve = [*tied_to_us(), sys.executable, "-c", CHROMA, "run", *options]
    with (folder / "log").open("wb") as log:
        # In a session of its own: Ctrl-C ends the tests first.
        process = subprocess.Popen(serve, stdout=log, stderr=log, start_new_session=True)
    try:
        yield _once_ready(f"http://127.0.0.1:{port}", process, folder / "log")
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _once_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            httpx.get(f"{url}/api/v2/heartbeat").raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.02)
        else:
            return url
    pytest.fail(f"chroma did not start: {log.read_text()}")
