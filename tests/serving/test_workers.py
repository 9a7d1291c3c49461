"""Several workers on PostgreSQL and a Chroma server are one server, and stay one when something of it goes down."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from personaagent.data.alignment import Job
from personaagent.data.store import Store, user_key

from ..chroma import free_port, running_chroma
from ..journal.deterministic_lm import deterministic_lm
from ..postgres import PostgresServer
from .test_process import wait_until_ready
from .waiting import wait_until

pytestmark = pytest.mark.slow

ALIGN_EVERY = 4
ASKS = 24
"""Requests, each over a connection of its own: the operating system gives them to any worker."""


class Deployment:
    """A server with two workers, and what it stands on.

    Args:
        folder: Everything of it.
        database: The URL of an empty PostgreSQL database.
    """

    def __init__(self, folder: Path, database: str) -> None:
        self._folder, self.database = folder, database
        self._chroma_port, self._port = free_port(), free_port()
        self._chroma = ExitStack()

    def start(self, api_base: str) -> "subprocess.Popen[bytes]":
        """Start the server, with an MLflow server that is not there."""
        self.start_chroma()
        self.environment = {
            **os.environ,
            "OPENAI_API_KEY": "sk-made-up",
            "PERSONAAGENT_CHROMA": f"http://127.0.0.1:{self._chroma_port}",
            "PERSONAAGENT_DATABASE": self.database,
            "PERSONAAGENT_EMBEDDER": "minilm",
            "PERSONAAGENT_HOME": str(self._folder / "home"),
            "PERSONAAGENT_TRACKING_URI": f"http://127.0.0.1:{free_port()}",
        }
        options = ["--port", str(self._port), "--workers", "2", f"--align-every={ALIGN_EVERY}"]
        lm = ["--lm", "openai/made-up", "--api-base", api_base]
        process = subprocess.Popen(
            [sys.executable, "-m", "personaagent", "serve", *options, *lm],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.wait_until_ready(process)
        return process

    def wait_until_ready(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait until a worker answers."""
        wait_until_ready(self._port, process)

    def start_chroma(self) -> None:
        """Start Chroma, with what it had."""
        folder = self._folder / "chroma"
        folder.mkdir(parents=True, exist_ok=True)
        self._chroma.enter_context(running_chroma(folder, self._chroma_port))

    def stop_chroma(self) -> None:
        """Stop Chroma."""
        self._chroma.close()

    def new_key(self, user: str) -> dict[str, str]:
        """Return what a client of a new user sends."""
        command = [sys.executable, "-m", "personaagent", "keys", "create", "--user", user, "--json"]
        made = subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True)
        return {"Authorization": f"Bearer {json.loads(made.stdout)['key']}"}

    def call(self, method: str, path: str, key: dict[str, str], **options: Any) -> httpx.Response:
        """Send a request over a connection of its own."""
        return httpx.request(method, f"http://127.0.0.1:{self._port}{path}", headers=key, timeout=60, **options)

    def jobs(self, key: dict[str, str]) -> list[dict[str, Any]]:
        """Return the user's alignments as they stand."""
        return self.call("GET", "/v1/alignments", key).json()["alignments"]

    def learn(self, key: dict[str, str], number: int, word: str = "film") -> None:
        """Say what the user really did."""
        known = {"query": f"Does {word} {number} suit the evening?", "ground_truth": f"Rather {word} {number + 1}."}
        assert self.call("POST", "/v1/interactions", key, json=known).status_code == 201

    def states(self, key: dict[str, str]) -> set[str]:
        """Return in which states the user's alignments are."""
        return {job["state"] for job in self.jobs(key)}

    def ask(self, key: dict[str, str], query: str = "A film for tonight?") -> dict[str, Any]:
        """Return where the answer to a question came from."""
        body = {"model": "personaagent", "messages": [{"role": "user", "content": query}]}
        answered = self.call("POST", "/v1/chat/completions", key, json=body)
        assert answered.status_code == 200, answered.text
        return answered.json()["personaagent"]


@pytest.fixture(scope="module")
def api_base() -> Iterator[str]:
    with deterministic_lm(0.1) as api_base:
        yield api_base


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path_factory.mktemp("deployment"), postgres.new_url())
    try:
        yield deployment
    finally:
        deployment.stop_chroma()


@pytest.fixture(scope="module")
def server(deployment: Deployment, api_base: str) -> Iterator["subprocess.Popen[bytes]"]:
    process = deployment.start(api_base)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def workers_of(server: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """Return the processes that answer; the tracker of Python's own shared resources is none."""
    children = psutil.Process(server.pid).children()
    return [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]


@pytest.mark.usefixtures("server")
def test_a_persona_is_aligned_once_and_every_worker_uses_it_from_the_next_request_on(deployment: Deployment) -> None:
    key = deployment.new_key("maya")

    with ThreadPoolExecutor(4) as clients:
        before = set(clients.map(lambda _: deployment.ask(key)["persona_version"], range(ASKS)))
        list(clients.map(partial(deployment.learn, key), range(ALIGN_EVERY)))
        wait_until(lambda: deployment.states(key).isdisjoint({"waiting", "running"}))
        [job] = deployment.jobs(key)
        assert job["state"] == "finished", job
        after = set(clients.map(lambda _: deployment.ask(key)["persona_version"], range(ASKS)))
    live = job["version"] or 1
    assert (before, after) == ({1}, {live})


def test_what_one_worker_acknowledged_is_there_when_it_is_killed(
    deployment: Deployment, server: "subprocess.Popen[bytes]"
) -> None:
    key = deployment.new_key("omar")
    acknowledged: set[str] = set()

    def write(number: int) -> None:
        name = f"interaction {number}"
        try:
            if deployment.call("POST", "/v1/interactions", key, json={"query": "q", "id": name}).status_code == 201:
                acknowledged.add(name)
        except httpx.TransportError:
            pass

    with ThreadPoolExecutor(4) as clients:
        writing = [clients.submit(write, number) for number in range(100)]
        wait_until(lambda: len(acknowledged) >= 20)
        first = min(workers_of(server), key=lambda worker: worker.pid)
        first.kill()
        for each in writing:
            each.result()
    assert len(acknowledged) > 20
    with Store.open(deployment.database) as store:
        stored = {interaction.interaction_id for interaction in store.user("omar").interactions.all()}
    assert acknowledged - stored == set()


@pytest.mark.usefixtures("server")
def test_any_worker_can_cancel_an_alignment(deployment: Deployment) -> None:
    keys = [deployment.new_key(f"patient {number}") for number in range(4)]
    for key in keys:
        for number in range(ALIGN_EVERY - 1):
            deployment.learn(key, number)
    long = {"n": ALIGN_EVERY - 1, "iterations": 10}
    with ThreadPoolExecutor(4) as clients:
        begun = list(clients.map(lambda key: deployment.call("POST", "/v1/alignments", key, json=long).json(), keys))
        paths = [f"/v1/alignments/{job['job_id']}" for job in begun]
        ended = clients.map(lambda key, path: deployment.call("DELETE", path, key), keys, paths)
        assert [answered.json()["state"] for answered in ended] == ["cancelled"] * len(keys)


def test_an_alignment_whose_worker_was_killed_is_interrupted_and_one_whose_worker_lives_is_not(
    deployment: Deployment, server: "subprocess.Popen[bytes]"
) -> None:
    key = deployment.new_key("yuki")
    deployment.ask(key)
    with Store.open(deployment.database) as store:
        [alive] = {line.run_id for line in store.journal.ledger(user_key=user_key("yuki"))}
        for number, worker in enumerate([alive, "one that is dead"]):
            job = Job(job_id=f"{number}" * 16, state="running", worker=worker, started_at=datetime.now(UTC))
            store.user("yuki").jobs.put(job)
    states = {job["job_id"][0]: job["state"] for job in deployment.jobs(key)}
    assert states == {"0": "running", "1": "interrupted"}
    for worker in workers_of(server):
        worker.kill()
    deployment.wait_until_ready(server)
    states = {job["job_id"][0]: job["state"] for job in deployment.jobs(key)}
    assert states == {"0": "interrupted", "1": "interrupted"}


@pytest.mark.usefixtures("server")
def test_nothing_is_written_for_users_who_were_erased_when_every_worker_had_lost_the_database(
    deployment: Deployment, postgres: PostgresServer
) -> None:
    keys = [deployment.new_key(f"leaver {number}") for number in range(2)]
    for key in keys:
        for number in range(ALIGN_EVERY - 1):
            deployment.learn(key, number, "canary")
        long = {"n": ALIGN_EVERY - 1, "iterations": 10}
        assert deployment.call("POST", "/v1/alignments", key, json=long).status_code == 202
    wait_until(lambda: any(deployment.states(key) != {"waiting"} for key in keys))
    with postgres.admin() as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    time.sleep(3)  # They may have connected again by now, and may have lost their names.
    wait_until(lambda: all(deployment.call("GET", "/v1/me", key).status_code == 200 for key in keys * 4))
    assert [deployment.call("DELETE", "/v1/me", key).status_code for key in keys] == [200, 200]
    time.sleep(5)
    with postgres.admin() as connection:
        schema = deployment.database.rpartition("%3D")[2]
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema]).fetchall()
        for (table,) in tables:
            counted = f"SELECT count(*) FROM {schema}.{table} AS row WHERE row::text LIKE '%canary%'"  # noqa: S608 - names that PostgreSQL gave
            assert connection.execute(counted.encode()).fetchone() == (0,), table


@pytest.mark.usefixtures("server")
def test_without_chroma_answers_come_without_memory_until_it_is_back(deployment: Deployment) -> None:
    key = deployment.new_key("noor")
    assert deployment.ask(key)["without_memory"] is False
    deployment.stop_chroma()
    assert deployment.ask(key)["without_memory"] is True
    deployment.start_chroma()
    assert deployment.ask(key)["without_memory"] is False
    found = deployment.call("POST", "/v1/memory/search", key, json={"query": "A film for tonight?", "k": 10}).json()
    assert len(found["episodes"]) == 3
