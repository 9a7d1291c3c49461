"""An erasure whose process is killed at any moment is finished by whoever opens the home folder next."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from personaagent import lms
from personaagent.data.store import Store, user_key
from personaagent.home import Home
from personaagent.portable import export_user
from personaagent.settings import Settings
from personaagent.testing import HashEmbedder

from .made_up import ERASED, KEPT, WORD, live_through, traces

ENVIRONMENT = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}


class Children:
    """Processes that open a home folder, and erase the user from it if they were told of the user."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        assert self._line() == "ready"

    def open(self, folder: Path, kill_after: float | None = None) -> tuple[float, set[str] | None]:
        """Let one open a folder, and kill it so many seconds after it began.

        Returns:
            How long it took, and the keys of the users who are stored when it ended; None if it was killed before.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(f"{folder}\n")
        self._process.stdin.flush()
        child, began = int(self._line()), time.monotonic()
        killing = threading.Timer(kill_after or 0.0, os.kill, (child, signal.SIGKILL))
        if kill_after is not None:
            killing.start()
        said = self._line()
        killing.cancel()
        took = time.monotonic() - began
        if said == "over":
            return took, None
        assert self._line() == "over"
        return took, set(said.split()[1:])

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


class Template(NamedTuple):
    """A home folder of two users, of which copies are erased from."""

    folder: Path
    kept: list[str]
    """What the other user's export says."""


@contextmanager
def children(*user_id: str) -> Iterator[Children]:
    command = [sys.executable, str(Path(__file__).with_name("erasing_children.py")), *user_id]
    process = subprocess.Popen(command, text=True, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        yield Children(process)
        assert process.stdin is not None
        process.stdin.close()


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
    return [file.name for file in files if any(each in file.read_bytes().lower() for each in wanted)]


def copy_of(template: Template, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template.folder, folder)
    for database in folder.glob("mlflow.db"):
        _move_artifacts(database, template.folder, folder)
    return folder


def _move_artifacts(database: Path, old: Path, new: Path) -> None:
    """Let MLflow's runs keep their artifacts in the copy."""
    with closing(sqlite3.connect(database)) as connection, connection:
        for table, column in (("runs", "artifact_uri"), ("experiments", "artifact_location")):
            connection.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(old), str(new)))  # noqa: S608


def check_kills(template: Template, folder: Path, rounds: int) -> dict[str, int]:
    """Kill so many erasures at random moments; return how many were killed before they were noted, and after."""
    moments, outcomes = random.Random(19), {"before": 0, "after": 0, "not at all": 0}
    with children(ERASED) as erasing, children() as opening:
        whole, _ = erasing.open(copy_of(template, folder))
        assert files_with_traces(folder) == []
        for _ in range(rounds):
            _, ended = erasing.open(copy_of(template, folder), moments.uniform(0.0, 1.1 * whole))
            _, stored = opening.open(folder)
            is_stored = stored == {user_key(ERASED), user_key(KEPT)}
            if is_stored:  # It was killed before anything was noted: whoever asked has no answer, and asks again.
                erasing.open(folder)
                _, stored = opening.open(folder)
            assert stored == {user_key(KEPT)}
            assert files_with_traces(folder) == []
            outcomes["not at all" if ended else "before" if is_stored else "after"] += 1
    with Store.open(folder / "store.db") as store:
        assert store.people.tombstones.all() == ()
        assert list(export_user(store, KEPT)) == template.kept
    return outcomes


@pytest.mark.slow
def test_nothing_is_left_of_a_user_whose_erasure_was_killed_at_five_moments(template: Template, tmp_path: Path) -> None:
    outcomes = check_kills(template, tmp_path / "home", rounds=5)
    assert outcomes["after"] > 0


@pytest.mark.soak
def test_nothing_is_left_of_a_user_whose_erasure_was_killed_at_a_hundred_moments(
    template: Template, tmp_path: Path
) -> None:
    outcomes = check_kills(template, tmp_path / "home", rounds=100)
    print(f"100 erasures killed: {outcomes}; 0 bytes left")  # noqa: T201
    assert outcomes["after"] > 20
