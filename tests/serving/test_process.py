"""The server as a process of its own: what it acknowledged is there after `kill -9`, and it ends in good order."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from personaagent.data.store import Store

from ..chroma import free_port
from ..journal.deterministic_lm import deterministic_lm
from .waiting import wait_until

ENVIRONMENT = {**os.environ, "PERSONAAGENT_EMBEDDER": "minilm", "OPENAI_API_KEY": "sk-made-up"}


@contextmanager
def served(home: Path, port: int, api_base: str) -> Generator["subprocess.Popen[bytes]"]:
    """Serve a home folder from a process while the block runs."""
    options = ["--port", str(port), "--lm", "openai/made-up", "--api-base", api_base, "--align-every=0"]
    command = [sys.executable, "-m", "personaagent", "--home", str(home), "serve", *options]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until_ready(port, process)
            yield process
        finally:
            process.kill()


def wait_until_ready(port: int, process: "subprocess.Popen[bytes]") -> None:
    def is_ready() -> bool:
        assert process.poll() is None, "the server ended"
        try:
            return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    wait_until(is_ready)


def new_key(home: Path, user: str) -> str:
    command = [sys.executable, "-m", "personaagent", "--home", str(home), "keys", "create", "--user", user, "--json"]
    made = subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, text=True)
    return json.loads(made.stdout)["key"]


def kill_under_load(home: Path, port: int, api_base: str, key: str, times: int) -> set[str]:
    """Kill the server in the middle of writes so many times, and return the ids that it had acknowledged."""
    acknowledged: set[str] = set()
    for number in range(times):
        with served(home, port, api_base) as process:
            stop = threading.Event()

            def write(thread: int, number: int = number, stop: threading.Event = stop) -> None:
                with httpx.Client(
                    base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {key}"}
                ) as client:
                    count = 0
                    while not stop.is_set():
                        count += 1
                        name = f"{number}-{thread}-{count}"
                        try:
                            new = {"query": f"film {name}", "id": name}
                            if client.post("/v1/interactions", json=new).status_code == 201:
                                acknowledged.add(name)
                        except httpx.TransportError:
                            return

            threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
            for thread in threads:
                thread.start()
            wait_until(lambda number=number: len(acknowledged) >= 5 * (number + 1))
            time.sleep(0.13 * (number % 5))
            process.send_signal(signal.SIGKILL)
            process.wait()
            stop.set()
            for thread in threads:
                thread.join()
    return acknowledged


def check_nothing_is_lost(tmp_path: Path, times: int) -> int:
    home, port = tmp_path / "home", free_port()
    key = new_key(home, "maya")
    with deterministic_lm(0.0) as api_base:
        acknowledged = kill_under_load(home, port, api_base, key, times)
    with Store.open(home / "store.db") as store:
        stored = {interaction.interaction_id for interaction in store.user("maya").interactions.all()}
    assert acknowledged
    assert acknowledged - stored == set()
    return len(acknowledged)


@pytest.mark.slow
def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    check_nothing_is_lost(tmp_path, times=1)


@pytest.mark.soak
def test_what_was_acknowledged_survives_twenty_kills(tmp_path: Path) -> None:
    print(f"{check_nothing_is_lost(tmp_path, times=20)} acknowledged, 0 lost")  # noqa: T201


@pytest.mark.slow
def test_it_answers_logs_no_words_and_ends_in_good_order(tmp_path: Path) -> None:
    home, port = tmp_path / "home", free_port()
    key = {"Authorization": f"Bearer {new_key(home, 'maya')}"}
    asked = {"model": "personaagent", "messages": [{"role": "user", "content": "a canary for tonight?"}]}
    with deterministic_lm(0.05) as api_base, served(home, port, api_base) as process:
        answered = httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=asked, headers=key, timeout=60)
        assert answered.status_code == 200, answered.text
        assert answered.json()["personaagent"]["without_memory"] is False
        assert process.stdout is not None
        process.send_signal(signal.SIGTERM)
        lines = process.stdout.read().decode().splitlines()
        assert process.wait() in {0, -signal.SIGTERM}
    [chat] = [line for line in map(json.loads, lines) if line["route"] == "/v1/chat/completions"]
    assert (chat["status"], chat["method"]) == (200, "POST")
    assert "canary" not in "".join(lines)


@pytest.mark.slow
def test_the_command_line_works_beside_a_server(tmp_path: Path) -> None:
    home, port, file = tmp_path / "home", free_port(), tmp_path / "maya.jsonl"
    told = {"id": "1", "query": "A film about canaries?", "ground_truth": "noir", "at": "2024-01-01"}
    file.write_text(json.dumps(told), encoding="utf-8")
    with deterministic_lm(0.0) as api_base, served(home, port, api_base) as process:

        def beside(*arguments: str) -> str:
            command = [sys.executable, "-m", "personaagent", "--home", str(home), *arguments]
            done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            return done.stdout

        beside("ingest", "--user", "maya", str(file))
        url, key = f"http://127.0.0.1:{port}/v1", {"Authorization": f"Bearer {new_key(home, 'maya')}"}
        found = httpx.post(f"{url}/memory/search", json={"query": "canaries"}, headers=key, timeout=60).json()
        assert [episode["interaction"]["interaction_id"] for episode in found["episodes"]] == ["1"]
        assert beside("ask", "--user", "maya", "Another?", "--lm", "openai/made-up", "--api-base", api_base).strip()
        assert "v1" in beside("persona", "list", "--user", "maya")
        command = [sys.executable, "-m", "personaagent", "--home", str(home), "user", "erase", "maya", "--yes"]
        assert subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=False).returncode == 1
        assert httpx.get(f"{url}/me", headers=key).status_code == 401

        def is_finished() -> bool:
            with Store.open(home / "store.db") as store:
                return not store.people.tombstones.all()

        wait_until(is_finished)
        process.send_signal(signal.SIGTERM)
        process.wait()
    left = [file for file in home.rglob("*") if file.is_file() and b"canaries" in file.read_bytes()]
    assert left == []
