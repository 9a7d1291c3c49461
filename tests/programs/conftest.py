"""A made-up user with a few films, and an LM that answers as a cooperative one would."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from personaagent.data.interaction import Interaction
from personaagent.data.persona import Persona, PersonaLine
from personaagent.data.store import User
from personaagent.data.task import Task
from personaagent.testing import ScriptedLM, in_memory_store

TASK = Task(
    name="LaMP-2M",
    kind="label",
    labels=("comedy", "classic", "action"),
    template="Which tag fits this film? description: {content}",
)
RATING = Task(name="LaMP-3", kind="rating", labels=("1", "2", "3", "4", "5"))
SEARCH = {"tool": "search_memory", "argument": "quiet films", "ready_to_answer": True}
PLOTS = ("A quiet lighthouse film", "A loud car chase", "Two bakers fall in love", "A parrot robs a bank")
TAGS = ("classic", "action", "classic", "comedy")


@pytest.fixture
def user() -> Iterator[User]:
    with in_memory_store() as store:
        user = store.add_user("maya")
        user.interactions.add(
            [
                Interaction(
                    interaction_id=f"film-{number}",
                    query=TASK.query(plot),
                    ground_truth=tag,
                    at=datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number),
                    task=TASK.name,
                )
                for number, (plot, tag) in enumerate(zip(PLOTS, TAGS, strict=True))
            ]
        )
        yield user


@pytest.fixture
def persona() -> Persona:
    return Persona(
        lines=(
            PersonaLine(section="profile", text="Watches films at night.", causes=("film-0",)),
            PersonaLine(section="style", text="Answer in one word."),
        )
    )


@pytest.fixture
def answers() -> dict[str, object]:
    return {"search": "calm films", **SEARCH, "response": "classic"}


@pytest.fixture
def lm(answers: dict[str, object]) -> ScriptedLM:
    return ScriptedLM(answers)
