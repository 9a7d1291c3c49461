"""A run that is killed, wherever that may be, and taken up again comes to what it would have come to, and pays once."""

import json
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, takewhile
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from personaagent.data.store import Store

from . import killed_alignment
from .deterministic_lm import deterministic_lm, hash_of, received
from .killed_alignment import RUN_ID, USERS, Ended, Order, store_users

pytestmark = pytest.mark.slow

LATENCY_SECONDS = 0.02
SAMPLE, ALL = 3, 200


class Outcome(NamedTuple):
    """What an alignment came to, and what it asked for that."""

    personas: tuple[str, ...]
    """Each user's live persona as JSON, with the causes of its lines."""
    asked: Counter[str]
    """How often each request reached the LM."""
    stretches: tuple[Ended, ...]
    """Each process that worked at it."""
    in_flight: Counter[str]
    """At how many kills a request was written down and its answer was not."""

    @property
    def kills(self) -> int:
        return sum(each.killed for each in self.stretches)

    @property
    def asked_again(self) -> Counter[str]:
        return self.asked - Counter(set(self.asked))


@dataclass
class Alignments:
    """Alignments of the same users, each in a store of its own, by one process after another."""

    folder: Path
    processes: "subprocess.Popen[str]"
    api_base: str
    log: Path
    numbers: Iterator[int] = field(default_factory=count)

    def run(self, *dies_at: int, killed_after_seconds: float | None = None) -> Outcome:
        """Align the users and take the alignment up again after each kill.

        Args:
            dies_at: The boundary at which the first process kills itself, the second, and so on; others do not.
            killed_after_seconds: When the first is killed from outside.
        """
        file = self.folder / f"{next(self.numbers)}.db"
        shutil.copy(self.folder / "users.db", file)
        before = len(received(self.log))
        deaths = iter(dies_at)
        stretches = [self._carry_out(Order(str(file), self.api_base, next(deaths, None), killed_after_seconds))]
        in_flight: Counter[str] = Counter()
        while stretches[-1].killed:
            in_flight.update(unanswered(file))
            stretches.append(self._carry_out(Order(str(file), self.api_base, next(deaths, None))))
        assert stretches[-1].exit_code == 0
        asked = Counter(each.said for each in received(self.log)[before:])
        return Outcome(personas(file), asked, tuple(stretches), in_flight)

    def _carry_out(self, order: Order) -> Ended:
        assert self.processes.stdin is not None and self.processes.stdout is not None
        self.processes.stdin.write(json.dumps(order._asdict()) + "\n")
        self.processes.stdin.flush()
        return Ended(**json.loads(self.processes.stdout.readline()))


@pytest.fixture(scope="module")
def alignments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alignments]:
    folder = tmp_path_factory.mktemp("alignments")
    store_users(folder / "users.db")
    log = folder / "requests.jsonl"
    command = [sys.executable, killed_alignment.__file__]
    with (
        deterministic_lm(LATENCY_SECONDS, log) as api_base,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as processes,
    ):
        yield Alignments(folder, processes, api_base, log)


@pytest.fixture(scope="module")
def uninterrupted(alignments: Alignments) -> Outcome:
    return alignments.run()


def personas(file: Path) -> tuple[str, ...]:
    with Store.open(file) as store:
        live = [store.user(name).personas.live for name in USERS]
    return tuple(version.persona.to_json() for version in live if version is not None)


def unanswered(file: Path) -> list[str]:
    """Return the LM's requests that are written down without an answer."""
    with Store.open(file) as store:
        attempts = store.journal.attempts(RUN_ID)
        calls = [call for call in store.journal.calls(RUN_ID) if call.role != "tool" and not attempts[call.key][1]]
    return [said(json.loads(call.request)) for call in calls]


def said(request: dict[str, Any]) -> str:
    """Return the hash under which the LM's log has a request of the journal."""
    parts = [message["parts"] for message in request["messages"]]
    return hash_of([request["system"], *("".join(part["text"] for part in each) for each in parts)])


def check(killed: Outcome, uninterrupted: Outcome) -> None:
    assert killed.personas == uninterrupted.personas
    assert set(killed.asked) == set(uninterrupted.asked)
    assert killed.asked_again <= killed.in_flight


def test_an_uninterrupted_alignment_asks_nothing_twice(uninterrupted: Outcome) -> None:
    assert len(uninterrupted.personas) == len(USERS)
    assert len(set(uninterrupted.personas)) == len(USERS)
    assert not uninterrupted.asked_again
    assert uninterrupted.asked.total() == len(USERS) * (3 * 4 + 1)


@pytest.mark.parametrize("place", range(SAMPLE))
def test_a_kill_at_a_write_changes_nothing(alignments: Alignments, uninterrupted: Outcome, place: int) -> None:
    [whole] = uninterrupted.stretches
    killed = alignments.run(1 + place * (whole.boundaries * 3 // 4) // (SAMPLE - 1))
    assert killed.kills == 1
    check(killed, uninterrupted)


@pytest.mark.soak
def test_a_kill_at_any_write_changes_nothing(alignments: Alignments, uninterrupted: Outcome) -> None:
    boundaries = takewhile(lambda killed: killed.kills, (alignments.run(boundary) for boundary in count(1)))
    killed = [check(each, uninterrupted) for each in boundaries]
    [whole] = uninterrupted.stretches
    assert len(killed) > whole.boundaries // 2


@pytest.mark.parametrize(
    "moment", [*range(SAMPLE), *(pytest.param(each, marks=pytest.mark.soak) for each in range(SAMPLE, ALL))]
)
def test_a_kill_at_a_random_moment_changes_nothing(alignments: Alignments, uninterrupted: Outcome, moment: int) -> None:
    [whole] = uninterrupted.stretches
    seconds = random.Random(moment).uniform(0, whole.seconds)
    killed = alignments.run(killed_after_seconds=seconds)
    while not killed.kills:
        seconds *= 0.8
        killed = alignments.run(killed_after_seconds=seconds)
    check(killed, uninterrupted)


def test_a_run_that_is_killed_again_and_again_comes_to_the_same(alignments: Alignments, uninterrupted: Outcome) -> None:
    [whole] = uninterrupted.stretches
    killed = alignments.run(*[whole.boundaries // 4] * 3)
    assert killed.kills == 3
    check(killed, uninterrupted)
