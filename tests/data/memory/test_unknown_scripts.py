"""Six interactions in a script that the embedder has no words for are recalled by their letters."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from personaagent.data.interaction import Interaction
from personaagent.data.memory.chroma_index import EpisodeIndex
from personaagent.data.store import Store, User
from personaagent.testing import HashEmbedder

Ask = Callable[..., Interaction]

SCRIPTS = {
    "Thai": ("ร้านชาใกล้สวน", "รถไฟไปทะเล", "ซุปเห็ดสำหรับสองคน", "หนังสือเรื่องเรือ", "รองเท้าเดินป่า", "เพลงตอนเช้า"),
    "Japanese": ("駅前の喫茶店", "海へ行く電車", "きのこのスープ", "船の本", "山歩きの靴", "朝の音楽"),
    "emoji": ("🍵🌳", "🚆🏖", "🍄🍲", "🚢📖", "🥾🏔", "🎵🌅"),
}
ASKED = {"Thai": "ร้านชาเงียบๆ", "Japanese": "静かな喫茶店", "emoji": "🍵🤫"}
"""Something that is like the first of the six."""
scripts = pytest.mark.parametrize("script", SCRIPTS)


class OneVector(HashEmbedder):
    """All that is not ASCII is one unknown word to it, and it does not say so."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return super().embed([text if text.isascii() else "unknown" for text in texts])


class EnglishOnly(OneVector):
    """It says so."""

    def unknown_share(self, text: str) -> float:
        return sum(not letter.isascii() for letter in text) / max(len(text), 1)


@pytest.fixture
def maya() -> Iterator[User]:
    with EpisodeIndex(None, EnglishOnly()) as index, Store.open("sqlite://", index=index) as store:
        yield store.add_user("maya")


def remember(user: User, ask: Ask, queries: Sequence[str]) -> None:
    user.interactions.add([ask(f"{day}", query, day=day, ground_truth="yes") for day, query in enumerate(queries, 1)])


def found(user: User, query: str, k: int = 6) -> list[tuple[str, float]]:
    return [(episode.interaction.query, episode.similarity) for episode in user.memory.recall(query, k)]


@scripts
def test_a_question_finds_what_is_like_it(maya: User, ask: Ask, script: str) -> None:
    remember(maya, ask, SCRIPTS[script])
    (first, similarity), *others = found(maya, ASKED[script])
    assert first == SCRIPTS[script][0]
    assert 1 > similarity > max(other for _, other in others)


@scripts
def test_what_was_asked_before_is_first_and_alone_is_the_same(maya: User, ask: Ask, script: str) -> None:
    remember(maya, ask, SCRIPTS[script])
    for query in SCRIPTS[script]:
        (first, similarity), (_, next_best), *_ = found(maya, query)
        assert (first, similarity) == (query, 1.0)
        assert next_best < 1


def test_a_question_in_words_that_are_known_is_compared_by_letters_with_texts_that_are_not(
    maya: User, ask: Ask
) -> None:
    remember(maya, ask, SCRIPTS["Thai"])
    assert {similarity for _, similarity in found(maya, "a quiet tea house")} == {0.0}


def test_a_few_unknown_texts_leave_the_others_to_their_meaning(maya: User, ask: Ask) -> None:
    remember(maya, ask, ["old tea house", "a train", "soup for two", *SCRIPTS["emoji"][:2]])
    assert found(maya, "house of tea, old", 1)[0][0] == "old tea house"
    assert found(maya, SCRIPTS["emoji"][1], 1) == [(SCRIPTS["emoji"][1], 1.0)]


def test_a_mask_hides_what_is_found_by_letters_too(maya: User, ask: Ask) -> None:
    remember(maya, ask, SCRIPTS["Thai"])
    third = maya.interactions.get("3")
    memory = maya.memory.before(third)
    assert {episode.interaction.interaction_id for episode in memory.recall(third.query, 6)} == {"1", "2"}


def test_one_vector_for_unequal_texts_is_noticed_though_the_embedder_says_nothing(ask: Ask) -> None:
    with EpisodeIndex(None, OneVector()) as index, Store.open("sqlite://", index=index) as store:
        maya = store.add_user("maya")
        remember(maya, ask, SCRIPTS["Japanese"])
        assert found(maya, ASKED["Japanese"], 1)[0][0] == SCRIPTS["Japanese"][0]
        assert found(maya, "tea", 1)[0][1] == 0.0


def test_copies_of_a_question_are_no_reason_to_distrust_their_vector(ask: Ask) -> None:
    with EpisodeIndex(None, OneVector()) as index, Store.open("sqlite://", index=index) as store:
        maya = store.add_user("maya")
        remember(maya, ask, ["old tea", "Old  TEA", "old tea"])
        assert [similarity for _, similarity in found(maya, "OLD tea")] == [1.0, 1.0, 1.0]
        assert found(maya, "tea that is old", 1)[0][1] < 1
