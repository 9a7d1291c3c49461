"""`personaagent ui`: MLflow's page for a home folder, or one line that says why not."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from .command_line import CommandLine, done


def test_a_server_that_is_configured_is_named(personaagent: CommandLine) -> None:
    variables = {"PERSONAAGENT_TRACKING_URI": "http://127.0.0.1:9"}
    shown = done(CommandLine(personaagent.home, personaagent.server, variables)("ui"))
    assert shown.out == "MLflow is a server already: http://127.0.0.1:9\n"


def test_a_port_that_is_taken_is_one_line(personaagent: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = personaagent("ui", "--port", str(taken.getsockname()[1]))
    assert refused.code == 2
    [line] = refused.err.splitlines()
    assert line.endswith("choose another with --port")


def test_without_its_packages_the_command_that_installs_them_is_said(
    personaagent: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow.server", None)
    refused = personaagent("ui", "--port", str(free_port()))
    assert refused.code == 2
    assert refused.err.strip().endswith("pip install 'personaagent[ui]'")


@pytest.mark.slow
def test_the_page_answers_and_the_experiments_are_those_of_the_home(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "personaagent", "--home", str(tmp_path / "home"), "ui", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as page:
        try:
            assert page.stdout is not None
            assert page.stdout.readline().startswith(f"MLflow's page: http://127.0.0.1:{port}")
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
                until_it_listens(client)
                assert "<html" in client.get("/").text
                found = client.post("/ajax-api/2.0/mlflow/experiments/search", json={"max_results": 5}).json()
            assert found["experiments"][0]["artifact_location"].startswith((tmp_path / "home").as_uri())
        finally:
            page.terminate()


def until_it_listens(client: httpx.Client) -> None:
    for _ in range(100):
        try:
            client.get("/health")
        except httpx.ConnectError:
            time.sleep(0.1)
        else:
            return


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]
