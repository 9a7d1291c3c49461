"""A store with a journal, and a question to ask through it."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import dspy
import pytest

from personaagent.data.store import Store
from personaagent.programs.module import Module, ask


class Ask(Module):
    """A program of one call."""

    def __init__(self) -> None:
        super().__init__()
        self.predict = dspy.Predict("query -> response")

    def forward(self, *, query: str) -> dspy.Prediction:
        return dspy.Prediction(response=ask(self.predict, query=query).response)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store.db") as store:
        yield store


def kept(items: Sequence[str | BaseException]) -> list[str]:
    """Return what was answered, without what was refused."""
    return [item for item in items if isinstance(item, str)]
