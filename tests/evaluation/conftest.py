"""Made-up users with few words, and methods that answer as a test tells them."""

from collections.abc import Callable, Iterator
from functools import cached_property

import dspy
import pytest

from personaagent.data.interaction import Interaction
from personaagent.data.lamp import LampData, LampUser
from personaagent.data.store import Store
from personaagent.data.task import Task
from personaagent.evaluation import Resources
from personaagent.testing import in_memory_store

TASK = Task(name="LaMP-2M", kind="label", labels=("comedy", "classic", "action"), template="Which tag? {content}")

Answer = Callable[[str], str | None]


ANSWERS = {
    "search": "films",
    "argument": "",
    "response": "classic",
    "critique": "say more of comedies",
    "profile": ["likes comedies"],
    "preferences": [],
    "tool_use": [],
    "style": [],
}
"""What a scripted LM says to whatever the whole system asks, the choice of a tool excepted."""


class Told(dspy.Module):
    """A program that answers what `answer` says to the content of a query."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, *, query: str) -> dspy.Prediction:
        return dspy.Prediction(response=self.answer(TASK.content(query)))


class ToldMethod:
    """A method whose program answers what `answer` says, the same for every user."""

    def __init__(self, answer: Answer, name: str = "told") -> None:
        self.answer, self.name = answer, name

    async def prepare(self, user: LampUser, resources: Resources) -> dspy.Module:
        return Told(self.answer)

    async def learn(self, program: dspy.Module, user: LampUser, resources: Resources) -> dspy.Module:
        return program


class InMemoryResources(Resources):
    """Resources whose store is in memory."""

    def __init__(self, task: Task, store: Store) -> None:
        super().__init__(task)
        self._in_memory = store

    @cached_property
    def store(self) -> Store:
        return self._in_memory


def made_up_user(user_id: str, golds: dict[str, str], history: tuple[str, ...] = ("classic",)) -> LampUser:
    """Return a user who asks one question per gold, under its key, in this order."""
    past = [
        Interaction(
            interaction_id=f"{user_id}-past-{number}",
            query=TASK.query(f"Past film {number}"),
            ground_truth=tag,
            position=number,
            task=TASK.name,
        )
        for number, tag in enumerate(history)
    ]
    questions = [
        Interaction(interaction_id=name, query=TASK.query(name), ground_truth=gold, position=number, task=TASK.name)
        for number, (name, gold) in enumerate(golds.items(), len(past))
    ]
    return LampUser(user_id, tuple(past), tuple(questions))


@pytest.fixture
def resources() -> Iterator[Resources]:
    with in_memory_store() as store:
        yield InMemoryResources(TASK, store)


@pytest.fixture
def data() -> LampData:
    """Two users with three questions."""
    maya = made_up_user("maya", {"q1": "comedy", "q2": "classic"}, ("classic", "comedy", "classic"))
    return LampData(TASK, (maya, made_up_user("omar", {"q3": "action"}, ("action",))))
