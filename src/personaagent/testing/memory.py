"""A store that leaves nothing behind."""

from collections.abc import Generator
from contextlib import contextmanager

from ..data.memory.chroma_index import EpisodeIndex
from ..data.store import Store
from .hash_embedder import HashEmbedder


@contextmanager
def in_memory_store() -> Generator[Store]:
    """Open a store with an index of episodes, both in memory, for as long as the block runs.

    Episodes are found by the words that they share with a query (`HashEmbedder`).

    Yields:
        The store.

    Example:
        ```python
        with in_memory_store() as store:
            user = store.add_user("maya")
            user.interactions.add([Interaction(interaction_id="1", query="A film?", ground_truth="noir")])
            assert user.memory.recall("film", k=1)[0].interaction.ground_truth == "noir"
        ```
    """
    with EpisodeIndex(None, HashEmbedder()) as index, Store.open("sqlite://", index=index) as store:
        yield store
