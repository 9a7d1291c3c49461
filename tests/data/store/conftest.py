"""Stores on both databases and in files, with made-up users."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from personaagent.data.alignment import Alignment, Iteration, TextualLoss
from personaagent.data.interaction import Interaction
from personaagent.data.persona import Persona, PersonaLine
from personaagent.data.statement import Statement
from personaagent.data.store import Store, User

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(new_url: Callable[[], str]) -> Iterator[Store]:
    with Store.open(new_url()) as store:
        yield store


@pytest.fixture
def user(store: Store) -> User:
    return store.add_user("maya")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def interaction(number: int, **changes: object) -> Interaction:
    fields: dict[str, object] = {
        "interaction_id": f"i{number}",
        "query": f"made-up question {number}",
        "ground_truth": f"made-up answer {number}",
        "at": NOON + timedelta(days=number),
    }
    return Interaction.model_validate(fields | changes)


def statement(name: str, topic: str, evidence: tuple[str, ...]) -> Statement:
    return Statement(statement_id=name, topic=topic, text=f"{name} says so", evidence=evidence, at=NOON)


def persona(text: str) -> Persona:
    return Persona(lines=(PersonaLine(section="preferences", text=text),))


def alignment(name: str, *steps: tuple[str | None, bool], base_version: int | None = None) -> Alignment:
    """Return an alignment of the persona "base" with one iteration for each (candidate's text, accepted)."""
    loss = TextualLoss(
        interaction_id="i1", query="made-up question 1", response=None, ground_truth="made-up answer 1", critique="no"
    )
    iterations = tuple(
        Iteration(losses=(loss,), candidate=persona(text) if text else None, accepted=accepted, reason=f"try {place}")
        for place, (text, accepted) in enumerate(steps)
    )
    return Alignment(
        alignment_id=name,
        settings={"mode": "paper", "n": 3},
        base_version=base_version,
        base=persona("base"),
        iterations=iterations,
        started_at=NOON,
    )
