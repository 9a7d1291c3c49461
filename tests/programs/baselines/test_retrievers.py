"""What is retrieved from a made-up history of films."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from rank_bm25 import BM25Okapi

from personaagent.data.interaction import Interaction
from personaagent.data.task import Task
from personaagent.programs.baselines.retrievers import Bm25Retriever, DenseRetriever, Retriever

TASK = Task(name="LaMP-2M", kind="label", labels=("comedy", "classic"), template="Which tag? {content}")
PLOTS = (
    "a lighthouse keeper counts ships",
    "two bakers swap shops",
    "a keeper of bees counts bees",
    "a clock runs backwards",
    "two clocks and a lighthouse",
)


class LetterEmbedder:
    """Embeds a text by how often it has each letter."""

    fingerprint = "letters"
    dimensions = 26

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        counts = np.array([[text.count(chr(97 + letter)) for letter in range(26)] for text in texts], np.float32)
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)


def history(*plots: str) -> tuple[Interaction, ...]:
    return tuple(
        Interaction(
            interaction_id=str(number),
            query=TASK.query(plot),
            ground_truth="classic",
            position=number,
            task=TASK.name,
        )
        for number, plot in enumerate(plots)
    )


def found(retriever: Retriever, content: str, k: int = 2) -> list[str]:
    return [interaction.interaction_id for interaction in retriever.top(TASK.query(content), k)]


def test_bm25_finds_the_most_and_rarest_words() -> None:
    assert found(Bm25Retriever(history(*PLOTS), TASK), "lighthouse keeper") == ["0", "4"]


def test_bm25_ranks_as_lamps_own_library_does() -> None:
    query = "a keeper of clocks and two ships"
    scores = BM25Okapi([plot.split() for plot in PLOTS]).get_scores(query.split())
    ranked = [str(number) for number in np.argsort(scores)[::-1]]
    assert len(set(scores)) == len(PLOTS)
    assert found(Bm25Retriever(history(*PLOTS), TASK), query, k=5) == ranked


def test_bm25_keeps_case_as_lamp_does() -> None:
    assert found(Bm25Retriever(history("Bees fly", "bees fly", "a cat"), TASK), "Bees", k=1) == ["0"]


def test_words_of_the_template_and_labels_find_nothing() -> None:
    retriever = Bm25Retriever(history("a cat", "a dog"), TASK)
    assert found(retriever, "Which tag? classic") == ["1", "0"]


def test_dense_finds_the_nearest() -> None:
    retriever = DenseRetriever(history("aaaa", "aabb", "zzzz"), TASK, LetterEmbedder())
    assert found(retriever, "aaab", k=3) == ["0", "1", "2"]


@pytest.mark.parametrize("plots", [(), ("", " ")], ids=["no history", "no words"])
def test_bm25_has_an_answer_where_there_are_no_words(plots: tuple[str, ...]) -> None:
    assert len(Bm25Retriever(history(*plots), TASK).top("a cat", 4)) == len(plots)


@pytest.mark.parametrize("dense", [False, True])
def test_of_equally_good_ones_the_newest_comes_first_and_no_more_than_k(dense: bool) -> None:
    twins = history("a cat", "a cat", "a cat")
    retriever = DenseRetriever(twins, TASK, LetterEmbedder()) if dense else Bm25Retriever(twins, TASK)
    assert found(retriever, "a cat") == ["2", "1"]
    assert found(retriever, "a cat", k=9) == ["2", "1", "0"]
