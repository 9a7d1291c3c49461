"""A made-up user whose every answer is a word that occurs nowhere else, so that a leak can be seen in a prompt."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from personaagent.data.interaction import Interaction
from personaagent.data.store import Store, User
from personaagent.testing import ScriptedLM, in_memory_store

HISTORY_LENGTH = 12
SEARCH = {"tool": "search_memory", "argument": "films", "ready_to_answer": True}


def canary(position: int) -> str:
    return f"canary{position:02d}end"


def interaction(position: int, **changes: object) -> Interaction:
    fields: dict[str, object] = {
        "interaction_id": f"i{position}",
        "query": f"What did you think of made-up film number {position}?",
        "ground_truth": canary(position),
        "at": datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=position),
    }
    return Interaction.model_validate(fields | changes)


@pytest.fixture
def store() -> Iterator[Store]:
    with in_memory_store() as store:
        yield store


@pytest.fixture
def user(store: Store) -> User:
    user = store.add_user("maya")
    user.interactions.add([interaction(position) for position in range(HISTORY_LENGTH)])
    return user


@pytest.fixture
def lm() -> ScriptedLM:
    return ScriptedLM(
        {
            "search": "films this user liked",
            **SEARCH,
            "response": "it was fine",
            "critique": lambda request: f"Advice on {request.input('question')}",
            "profile": ["Loves quiet films."],
            "preferences": ["Prefers old films."],
            "tool_use": ["Use at least TWO tools before answering."],
            "style": ["Answer briefly."],
        }
    )
