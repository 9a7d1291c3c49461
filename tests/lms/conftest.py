"""A loopback server, and an LM that is asked through the journal."""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import dspy
import pytest

from personaagent.data.call import Attempt, Call, Run
from personaagent.data.store import Store
from personaagent.journal import AGENT, new_run, open_run
from personaagent.lms import open_lm
from personaagent.programs.module import Module, ask

from ..loopback import Loopback, loopback

Result = TypeVar("Result")


@pytest.fixture
def server() -> Iterator[Loopback]:
    with loopback() as up:
        yield up


@pytest.fixture
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)


class Ask(Module):
    """A program of one call, whose answer has one field."""

    def __init__(self) -> None:
        super().__init__()
        self.predict = dspy.Predict("query -> response")

    def forward(self, *, query: str) -> dspy.Prediction:
        return dspy.Prediction(response=ask(self.predict, query=query).response)


class Journalled:
    """Asks LMs through the journal of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._runs = 0

    @property
    def run_id(self) -> str:
        """The latest run."""
        return f"r{self._runs}"

    @property
    def recorded(self) -> Run:
        """The same, as the journal has it."""
        recorded = self._store.journal.find(self.run_id)
        assert recorded is not None
        return recorded

    @property
    def calls(self) -> tuple[Call, ...]:
        """What the latest run asked."""
        return self._store.journal.calls(self.run_id)

    @property
    def attempts(self) -> list[Attempt]:
        """How it was answered."""
        return list(self._store.journal.all_attempts(self.run_id))

    def __call__(self, lm: dspy.LM, *queries: str) -> list[str]:
        """Return the answers; a replay comes to the same."""
        return self.do(lm, lambda: [Ask()(query=query).response for query in queries])

    @contextmanager
    def run(self, lm: dspy.LM) -> Generator[None]:
        """Let what is done inside ask an LM through the journal."""
        self._runs += 1
        with open_run(self._store.journal, new_run("test", run_id=self.run_id), {AGENT: lm}):
            yield

    def do(self, lm: dspy.LM, work: Callable[[], Result]) -> Result:
        """Return what work comes to; a replay comes to the same."""
        with self.run(lm):
            came_to = work()
        self.replayed(lambda: _same(work(), came_to))
        return came_to

    def replayed(self, work: Callable[[], object]) -> None:
        """Do the latest run's work again from the journal alone."""
        with open_run(self._store.journal, self.recorded, {}, replay=True):
            work()


def _same(replayed: object, recorded: object) -> None:
    assert replayed == recorded


@pytest.fixture
def journalled(tmp_path: Path) -> Iterator[Journalled]:
    with Store.open(tmp_path / "store.db") as store:
        yield Journalled(store)


@pytest.fixture
def lm(server: Loopback, _no_keys: None) -> dspy.LM:
    """The server's LM."""
    return open_lm("openai/made-up", api_base=server.url)
