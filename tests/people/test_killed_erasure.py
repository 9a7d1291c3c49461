"""An erasure whose process is killed at any moment is finished by whoever opens the home folder next."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from personaagent import lms
from personaagent.data.store import user_key
from personaagent.home import Home
from personaagent.people import erase, export_user
from personaagent.settings import Settings
from personaagent.testing import HashEmbedder

from .made_up import ERASED, KEPT, WORD, live_through, traces

ENVIRONMENT = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}


class Children:
    """Processes that erase the user from a home folder."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def erase(self, folder: Path, kill_after: float | None = None) -> tuple[float, bool]:
        """Let one erase, and kill it so many seconds after it began.

        Returns:
            How long it took, and whether it came to its end.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{folder}\n")
        self._process.stdin.flush()
        child, began = int(self._process.stdout.readline()), time.monotonic()
        if kill_after is not None:
            killing = threading.Timer(kill_after, os.kill, (child, signal.SIGKILL))
            killing.start()
        line = self._process.stdout.readline()
        took = time.monotonic() - began
        if line == "done\n":
            assert self._process.stdout.readline() == "over\n"
        if kill_after is not None:
            killing.cancel()
        return took, line == "done\n"


class Template(NamedTuple):
    """A home folder of two users, of which copies are erased from."""

    folder: Path
    kept: list[str]
    """What the other user's export says."""


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    command = [sys.executable, str(Path(__file__).with_name("erasing_children.py")), ERASED]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield Children(process)
        process.stdin.close()


@pytest.fixture
def hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lms, "open_embedder", lambda _: HashEmbedder())


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    folder = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lms, "open_embedder", lambda _: HashEmbedder())
        with Home(Settings(home=folder)) as home:
            live_through(home, ERASED, WORD)
            live_through(home, KEPT, "plain")
            return Template(folder, list(export_user(home.store, KEPT)))


def files_with_traces(folder: Path) -> list[str]:
    """Return the files in which a word of the user stands, or the user's id."""
    key = {user_key(ERASED).encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be")}
    wanted = [trace.lower() for trace in {*traces(ERASED)} - key]
    files = [file for file in folder.rglob("*") if file.is_file()]
    return [file.name for file in files if any(one in file.read_bytes().lower() for one in wanted)]


def copy_of(template: Template, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template.folder, folder)
    for database in folder.glob("mlflow.db"):
        _move_artifacts(database, template.folder, folder)
    return folder


def _move_artifacts(database: Path, old: Path, new: Path) -> None:
    """Let MLflow's runs keep their artifacts in the copy."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(database)) as connection, connection:
        for table, column in (("runs", "artifact_uri"), ("experiments", "artifact_location")):
            connection.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(old), str(new)))  # noqa: S608


def check_kills(template: Template, children: Children, folder: Path, rounds: int) -> dict[str, int]:
    """Kill so many erasures at random moments; return how many were killed before they were noted, and after."""
    whole, finished = children.erase(copy_of(template, folder))
    assert finished
    assert files_with_traces(folder) == []
    moments, outcomes = random.Random(19), {"before": 0, "after": 0, "not at all": 0}
    for _ in range(rounds):
        _, finished = children.erase(copy_of(template, folder), moments.uniform(0.0, 1.1 * whole))
        with Home(Settings(home=folder)) as home:
            is_stored = ERASED in {user.user_id for user in home.store.users()}
            if (
                is_stored
            ):  # It was killed before anything was noted: whoever asked for it has no answer, and asks again.
                erase(home, ERASED)
            assert files_with_traces(folder) == []
            assert home.store.people.tombstones.all() == ()
            assert list(export_user(home.store, KEPT)) == template.kept
            recalled = home.store.user(KEPT).memory.recall("question 2 plain", 3)
            assert len(recalled) == 3
        assert files_with_traces(folder) == []
        outcomes["not at all" if finished else "before" if is_stored else "after"] += 1
    return outcomes


@pytest.mark.slow
@pytest.mark.usefixtures("hashing")
def test_nothing_is_left_of_a_user_whose_erasure_was_killed_at_five_moments(
    template: Template, children: Children, tmp_path: Path
) -> None:
    outcomes = check_kills(template, children, tmp_path / "home", rounds=5)
    assert outcomes["after"] > 0


@pytest.mark.soak
@pytest.mark.usefixtures("hashing")
def test_nothing_is_left_of_a_user_whose_erasure_was_killed_at_a_hundred_moments(
    template: Template, children: Children, tmp_path: Path
) -> None:
    outcomes = check_kills(template, children, tmp_path / "home", rounds=100)
    print(f"100 erasures killed: {outcomes}; 0 bytes left")  # noqa: T201
    assert outcomes["after"] > 20
