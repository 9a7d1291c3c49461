"""How alike personas are, against cases that were counted by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personaagent.evaluation.report.personas import (
    jaccard,
    jaccard_matrix,
    overlap_sentence,
    overlaps,
    persona_map,
    section_changes,
    words_of,
)
from personaagent.testing import HashEmbedder

from .made_up import persona

WORDS = st.frozensets(st.sampled_from("abcdef"))

QUIET = persona("Likes quiet films.")
LOUD = persona("Likes LOUD films, loud songs.")


def test_the_words_of_a_persona_are_those_of_its_lines_in_any_case() -> None:
    assert words_of(LOUD) == {"likes", "loud", "films", "songs", "be", "brief"}


def test_overlap_is_the_share_of_common_words() -> None:
    assert jaccard(words_of(QUIET), words_of(LOUD)) == pytest.approx(4 / 7)
    assert jaccard_matrix([QUIET, LOUD]) == ((1.0, pytest.approx(4 / 7)), (pytest.approx(4 / 7), 1.0))


@given(WORDS, WORDS)
def test_overlap_is_the_same_both_ways_and_whole_only_with_oneself(left: frozenset[str], right: frozenset[str]) -> None:
    assert jaccard(left, right) == jaccard(right, left)
    assert (jaccard(left, right) == 1) == (left == right)
    assert (jaccard(left, right) == 0) == (not left & right and left != right)


def test_each_pair_of_users_counts_once() -> None:
    assert overlaps([QUIET, QUIET, LOUD]) == (pytest.approx(4 / 7), pytest.approx(4 / 7), 1.0)


def test_the_sentence_has_before_and_after() -> None:
    apart = [persona("alpha beta gamma delta epsilon"), persona("zeta eta theta iota kappa")]
    assert overlap_sentence([QUIET, LOUD], apart) == (
        "Two users' personas share 0.17 of their words (median of 1 pairs; 0.57 before alignment); 100% of the pairs "
        "share at most 0.40."
    )


def test_lines_are_counted_by_section_over_users() -> None:
    before = [persona("Likes films."), persona("Likes tea.", "Is tall.")]
    after = [persona("Likes films.", "Likes rain."), persona("Likes coffee.")]
    assert section_changes(before, after) == {
        "profile": (1.5, 1.5, 0.5),
        "preferences": (0, 0, 0),
        "tool_use": (0, 0, 0),
        "style": (1, 1, 1),
    }


def test_a_map_has_a_place_for_each_persona_and_like_ones_are_neighbours() -> None:
    films = [persona(f"Loves old silent cinema films very much {number}") for number in range(4)]
    food = [persona(f"Cooks spicy vegetable noodle soups daily {number}") for number in range(4)]
    places = persona_map([*films, *food], HashEmbedder())
    assert places.shape == (8, 2)
    distances = np.linalg.norm(places[:, None] - places[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.argmin(axis=1)
    assert [int(place) // 4 for place in nearest] == [0, 0, 0, 0, 1, 1, 1, 1]


def test_the_same_personas_have_the_same_map() -> None:
    several = [persona(f"Is user {number}.") for number in range(4)]
    first, again = (persona_map(several, HashEmbedder()) for _ in range(2))
    assert np.array_equal(first, again)
