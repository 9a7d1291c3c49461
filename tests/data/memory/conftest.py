"""A user of an in-memory store, and made-up interactions."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from personaagent.data.interaction import Interaction
from personaagent.data.memory.chroma_index import EpisodeIndex
from personaagent.data.store import Store, User
from personaagent.testing import HashEmbedder


@pytest.fixture
def index() -> Iterator[EpisodeIndex]:
    with EpisodeIndex(None, HashEmbedder(), shards=2) as index:
        yield index


@pytest.fixture
def store(index: EpisodeIndex) -> Iterator[Store]:
    with Store.open("sqlite://", index=index) as store:
        yield store


@pytest.fixture
def maya(store: Store) -> User:
    return store.add_user("maya")


@pytest.fixture(scope="session")
def ask() -> Callable[..., Interaction]:
    """Make the interaction `name`, on a day of January 2024 or undated."""

    def ask(name: str, query: str, *, day: int | None = None, **fields: object) -> Interaction:
        at = None if day is None else datetime(2024, 1, day, tzinfo=UTC)
        return Interaction.model_validate({"interaction_id": name, "query": query, "at": at, **fields})

    return ask
