"""Several processes on one database: nothing is lost, nothing is half there, even when one is killed."""

import signal
import subprocess
import sys

import pytest

from personaagent.data.store import Store

from .conftest import alignment, persona

pytestmark = pytest.mark.slow

OPEN = """
import os, signal, sys
from personaagent.data.interaction import Interaction
from personaagent.data.store import Store
store = Store.open(sys.argv[1])
user = store.add_user("maya")
"""
WRITE = """
for number in range(20):
    user.interactions.add([Interaction(interaction_id=f"{sys.argv[2]}-{number}", query="made up")])
"""
ACKNOWLEDGE_AND_DIE = """
print(user.interactions.add([Interaction(interaction_id="1", query="made up")]), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
DIE_WHILE_RECORDING = """
from sqlalchemy import Engine, event
from personaagent.data.alignment import Alignment

@event.listens_for(Engine, "before_cursor_execute")
def die(connection, cursor, statement, *_):
    if statement.startswith("INSERT INTO promotions"):
        os.kill(os.getpid(), signal.SIGKILL)

user.alignments.add(Alignment.from_json(sys.argv[2]))
"""


def start(program: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", OPEN + program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_processes_that_open_a_new_database_and_write_at_once_lose_nothing(url: str) -> None:
    writers = [start(WRITE, url, name) for name in "abc"]
    assert [(writer.communicate()[1], writer.returncode) for writer in writers] == [("", 0)] * 3
    with Store.open(url) as store:
        interactions = store.user("maya").interactions.all()
    assert {interaction.interaction_id for interaction in interactions} == {
        f"{name}-{n}" for name in "abc" for n in range(20)
    }
    assert [interaction.position for interaction in interactions] == list(range(60))


def test_what_was_acknowledged_survives_a_kill(url: str) -> None:
    killed = start(ACKNOWLEDGE_AND_DIE, url)
    assert killed.communicate() == ("1\n", "")
    assert killed.returncode == -signal.SIGKILL
    with Store.open(url) as store:
        assert len(store.user("maya").interactions) == 1


def test_a_kill_while_an_alignment_is_recorded_leaves_nothing_of_it(url: str) -> None:
    with Store.open(url) as store:
        store.add_user("maya").personas.add(persona("base"), reason="made up", status="live")
    killed = start(DIE_WHILE_RECORDING, url, alignment("first", ("b", True), base_version=1).to_json())
    assert killed.communicate() == ("", "")
    assert killed.returncode == -signal.SIGKILL
    with Store.open(url) as store:
        user = store.user("maya")
        assert user.alignments.all() == ()
        assert [version.status for version in user.personas.versions()] == ["live"]
        assert [version.number for version in user.alignments.add(alignment("first", ("b", True), base_version=1))] == [
            2
        ]
