"""The store in memory and its embedder."""

import subprocess
import sys

import numpy as np
import pytest

from personaagent.data.interaction import Interaction
from personaagent.testing import HashEmbedder, in_memory_store


def test_texts_that_share_words_are_near_each_other() -> None:
    film, same_film, car, none = HashEmbedder().embed(["A quiet film", "a QUIET film!", "loud car chase", "..."])
    assert np.allclose(film, same_film)
    assert film @ car < 0.5
    assert np.allclose([vector @ vector for vector in (film, car, none)], 1)


@pytest.mark.slow
def test_vectors_are_the_same_in_another_process() -> None:
    code = "from personaagent.testing import HashEmbedder; print(HashEmbedder(64).embed(['one two'])[0].tolist())"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str(HashEmbedder(64).embed(["one two"])[0].tolist())


def test_words_of_opposite_directions_still_give_a_vector_of_length_one() -> None:
    vectors = HashEmbedder(1).embed([f"{a} {b}" for a in "abcdef" for b in "ghijkl"])
    assert np.allclose(np.abs(vectors), 1)


def test_an_episode_is_recalled_by_a_word() -> None:
    with in_memory_store() as store:
        user = store.add_user("maya")
        user.interactions.add(
            [
                Interaction(interaction_id="1", query="Which quiet film?", ground_truth="noir"),
                Interaction(interaction_id="2", query="Which loud car?", ground_truth="red"),
            ]
        )
        assert user.memory.recall("film", k=1)[0].interaction.interaction_id == "1"


def test_two_stores_share_nothing() -> None:
    with in_memory_store() as one, in_memory_store() as other:
        one.add_user("maya").interactions.add([Interaction(interaction_id="1", query="film", ground_truth="noir")])
        assert other.users() == ()
        assert other.add_user("maya").memory.recall("film", k=1) == ()
