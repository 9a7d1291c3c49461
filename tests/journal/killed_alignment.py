"""An alignment of made-up users that is killed at a chosen moment, and the process that it happens in.

Run as a program it imports everything once and forks a process for each line of its input: an `Order` as JSON. When the
process has ended, it prints an `Ended` as JSON.
"""

import asyncio
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from ctypes import c_int
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection

from personaagent import personas
from personaagent.data.call import Attempt, Call
from personaagent.data.interaction import Interaction
from personaagent.data.lamp.tasks import MOVIE_TAGS
from personaagent.data.memory.chroma_index import EpisodeIndex
from personaagent.data.store import Store
from personaagent.data.store.database import Database
from personaagent.data.store.journal import Journal
from personaagent.data.task import task_named
from personaagent.journal import AGENT, LOSS, REVISION, new_run, open_run
from personaagent.lms import open_lm
from personaagent.optimizers import PersonaAlignment
from personaagent.testing import HashEmbedder

RUN_ID = "killed"
USERS = ("ada", "ben", "cleo", "dan", "eve")
CONCURRENCY = 8

_INTERACTIONS = 12
_SUBJECTS = ("a keeper", "two sisters", "a robot", "the last baker", "an old spy", "a choir", "three thieves")
_PLOTS = ("wakes up in", "burns down", "falls in love with", "tries to leave", "writes a letter to", "haunts")
_PLACES = ("a lighthouse", "the moon", "a small town", "the royal archive", "a flooded city")


class Order(NamedTuple):
    """What is done in one process."""

    file: str
    """The store, which has the users."""
    api_base: str
    """Where the LM is."""
    dies_at: int | None = None
    """The boundary, counted from 1, at which the process kills itself: each write has one before and one after it."""
    killed_after_seconds: float | None = None
    """How long after its start it is killed from outside."""


class Ended(NamedTuple):
    """What became of it."""

    exit_code: int
    seconds: float
    boundaries: int
    """How many it had reached."""

    @property
    def killed(self) -> bool:
        """Whether it was killed; otherwise it came to its end."""
        return self.exit_code == -signal.SIGKILL


def store_users(file: Path) -> None:
    """Store the users with a history of made-up films each."""
    task = task_named("LaMP-2M")
    with Store.open(file) as store:
        for place, name in enumerate(USERS):
            numbers = range(place * _INTERACTIONS, (place + 1) * _INTERACTIONS)
            films = [
                Interaction(
                    interaction_id=f"m{number}",
                    query=task.query(_film(number)),
                    ground_truth=MOVIE_TAGS[number % len(MOVIE_TAGS)],
                    task=task.name,
                )
                for number in numbers
            ]
            store.add_user(name).interactions.add(films)


def align(order: Order, reach: Callable[[], None]) -> None:
    """Align the users, or take their alignment up where it was killed.

    Args:
        order: What is done.
        reach: Is called at each boundary.
    """
    _watch_writes(reach)
    with EpisodeIndex(None, HashEmbedder()) as index, Store.open(Path(order.file), index=index) as store:
        users = [store.user(name) for name in USERS]
        run = new_run("align", {"users": [user.key for user in users], "n": 3}, RUN_ID)
        with open_run(store.journal, run, {AGENT: open_lm("openai/made-up", api_base=order.api_base)}) as going_on:
            optimizer = PersonaAlignment(
                mode="paper", n=3, loss_lm=going_on.lm(LOSS), revision_lm=going_on.lm(REVISION)
            )
            asyncio.run(personas.align_all(users, optimizer, RUN_ID, concurrency=CONCURRENCY))


def _film(number: int) -> str:
    subject, plot, place = (words[number % len(words)] for words in (_SUBJECTS, _PLOTS, _PLACES))
    return f"{subject} {plot} {place}, and reel {number} shows how it ends"


def _watch_writes(reach: Callable[[], None]) -> None:
    """Call `reach` before each write to the store begins, the journal's among them, and after it is committed."""
    write, append = Database.write, Journal.append

    @contextmanager
    def watched_write(self: Database) -> Generator[Connection]:
        reach()
        with write(self) as connection:
            yield connection
        reach()

    def watched_append(self: Journal, entries: Sequence[Call | Attempt]) -> frozenset[str]:
        reach()
        gone = append(self, entries)
        reach()
        return gone

    Database.write, Journal.append = watched_write, watched_append


def _in_process(order: Order, reached: Any) -> None:
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    counting = threading.Lock()

    def reach() -> None:
        with counting:
            reached.value += 1
            if reached.value == order.dies_at:
                os.kill(os.getpid(), signal.SIGKILL)

    align(order, reach)


def _carried_out(order: Order) -> Ended:
    fork = multiprocessing.get_context("fork")
    reached = fork.RawValue(c_int, 0)
    process = fork.Process(target=_in_process, args=(order, reached))
    began = time.perf_counter()
    process.start()
    process.join(order.killed_after_seconds)
    if order.killed_after_seconds is not None:
        process.kill()
        process.join()
    assert process.exitcode is not None
    return Ended(process.exitcode, time.perf_counter() - began, reached.value)


def _refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.getaddrinfo" and not str(arguments[0]).startswith("127."):
        raise OSError(f"{arguments[0]} is out of reach")


def _main() -> None:
    for used in ("anyio", "chromadb.api.rust", "chromadb.api.client", "httpcore"):
        import_module(used)
    sys.addaudithook(_refuse_network)
    for line in sys.stdin:
        print(json.dumps(_carried_out(Order(**json.loads(line)))._asdict()), flush=True)  # noqa: T201


if __name__ == "__main__":
    _main()
