"""Which past interactions a query is answered from: by words in common (BM25), or by meaning (dense)."""

from collections.abc import Sequence
from typing import Protocol

from ...data.errors import needing
from ...data.interaction import Interaction
from ...data.memory.embedder import Embedder
from ...data.task import Task
from .lamp_texts import indexed_text, search_text


class Retriever(Protocol):
    """Finds interactions in the history of one user, which is given to it oldest first."""

    def top(self, query: str, k: int) -> tuple[Interaction, ...]:
        """Return at most `k` interactions, best first; of equally good ones the newest first."""
        ...


class Bm25Retriever:
    """BM25Okapi over words split at white space, case kept, as in LaMP's code and by the library that it uses.

    `rank_bm25` gives a word that is in most documents a small positive weight rather than none, which decides between
    the few and short items of a LaMP profile; other BM25 libraries rank them differently.
    """

    def __init__(self, history: Sequence[Interaction], task: Task) -> None:
        with needing("report"):
            from rank_bm25 import BM25Okapi

        self._searched, self._task = tuple(history), task
        documents = [indexed_text(interaction, task).split() for interaction in history]
        # BM25Okapi divides by the number of words of all documents.
        self._index = BM25Okapi(documents) if any(documents) else None

    def top(self, query: str, k: int) -> tuple[Interaction, ...]:
        """Return the interactions that have the most and rarest words of the query."""
        words = search_text(query, self._task).split()
        scores = self._index.get_scores(words).tolist() if self._index else [0.0] * len(self._searched)
        return _best(self._searched, scores, k)


class DenseRetriever:
    """Cosine between embeddings of the same texts that BM25 compares; the constructor embeds the history.

    LaMP embeds with Contriever, mean pooling and dot product; here any embedder does.
    """

    def __init__(self, history: Sequence[Interaction], task: Task, embedder: Embedder) -> None:
        self._searched, self._task, self._embedder = tuple(history), task, embedder
        self._vectors = embedder.embed([indexed_text(interaction, task) for interaction in history])

    def top(self, query: str, k: int) -> tuple[Interaction, ...]:
        """Return the interactions nearest in meaning to the query."""
        vector = self._embedder.embed([search_text(query, self._task)])[0]
        return _best(self._searched, (self._vectors @ vector).tolist(), k)


def _best(interactions: Sequence[Interaction], scores: Sequence[float], k: int) -> tuple[Interaction, ...]:
    order = sorted(range(len(interactions)), key=lambda index: (scores[index], index), reverse=True)
    return tuple(interactions[index] for index in order[:k])
