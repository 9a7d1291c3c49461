"""Recall without an LM: what is shown of a user's memory, and what votes."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from personaagent.data.interaction import Interaction
from personaagent.data.statement import Episode
from personaagent.data.store import User
from personaagent.data.task import task_named
from personaagent.programs.recall import Recall
from personaagent.testing import in_memory_store


@pytest.fixture
def maya() -> Iterator[User]:
    with in_memory_store() as store:
        yield store.add_user("maya")


def remember(user: User, *asked: tuple[str, str | None]) -> None:
    user.interactions.add(
        [
            Interaction(
                interaction_id=f"{day}", query=query, ground_truth=answer, at=datetime(2026, 3, day, tzinfo=UTC)
            )
            for day, (query, answer) in enumerate(asked, 1)
        ]
    )


def shown(user: User, query: str, k: int = 4) -> list[tuple[str, str | None]]:
    episodes: tuple[Episode, ...] = Recall(k)(query=query, memory=user.memory).episodes
    return [(episode.interaction.query, episode.interaction.ground_truth) for episode in episodes]


def test_known_answers_come_before_exchanges_without_one(maya: User) -> None:
    copies = [("tea at dawn", None)] * 5
    remember(maya, ("tea at noon", "green"), ("tea by the sea", "black"), *copies)
    assert shown(maya, "tea at dawn", k=2) == [("tea at noon", "green"), ("tea by the sea", "black")]


def test_exchanges_without_an_answer_fill_what_is_left_each_question_once(maya: User) -> None:
    remember(maya, ("tea at noon", "green"), ("tea at dawn", None), ("tea at dawn", None), ("soup at dawn", None))
    assert shown(maya, "tea at dawn") == [("tea at noon", "green"), ("tea at dawn", None), ("soup at dawn", None)]


@pytest.mark.parametrize(
    "again",
    ["Which tea at dawn?", "which  TEA at dawn", "Hi! What tea at dawn, please?", "At dawn: which tea?"],
)
def test_of_nearly_equal_questions_only_the_newest_is_shown(maya: User, again: str) -> None:
    remember(maya, ("Which tea at dawn?", "green"), ("Which tea at noon?", "white"), (again, "black"))
    assert sorted(answer or "" for _, answer in shown(maya, "Which tea at dawn?")) == ["black", "white"]


def test_a_known_answer_is_shown_though_its_question_was_asked_again_without_one(maya: User) -> None:
    remember(maya, ("tea at dawn", "green"), ("tea at dawn", None))
    assert shown(maya, "tea at dawn") == [("tea at dawn", "green")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do you rate season 3 of the show about trains", "How do you rate season 4 of the show about trains"),
        ("I like tea", "I do not like tea"),
        ("film \N{CLAPPER BOARD}", "film \N{SLICE OF PIZZA}"),
        ("?", "!"),
    ],
)
def test_questions_that_differ_in_what_they_say_are_both_shown(maya: User, one: str, other: str) -> None:
    remember(maya, (one, "yes"), (other, "no"))
    assert len(shown(maya, one)) == 2


def test_what_asks_the_same_is_the_best(maya: User) -> None:
    remember(maya, ("tea at noon", "white"), ("Tea  AT dawn", "green"), ("tea", "black"))
    assert shown(maya, "tea at dawn", k=1) == [("Tea  AT dawn", "green")]


def test_every_known_answer_votes_with_its_similarity(maya: User) -> None:
    remember(maya, ("tea at dawn", "green"), ("soup", "leek"), ("tea at dawn", "black"), ("tea at dawn", None))
    answered: tuple[Episode, ...] = Recall(1)(query="tea at dawn", memory=maya.memory).answered
    assert [(episode.interaction.ground_truth, episode.similarity) for episode in answered] == [
        ("black", 1.0),
        ("green", 1.0),
        ("leek", 0.0),
    ]


def test_a_mask_hides_from_what_is_shown_and_from_what_votes(maya: User) -> None:
    remember(maya, ("tea at noon", "white"), ("tea at dawn", "green"), ("tea by the sea", "black"))
    masked = maya.memory.before(maya.interactions.get("2"))
    found = Recall(4)(query="tea at dawn", memory=masked)
    assert [episode.interaction.interaction_id for episode in (*found.episodes, *found.answered)] == ["1", "1"]


def test_an_empty_memory_has_nothing_to_show(maya: User) -> None:
    found = Recall(4)(query="tea", memory=maya.memory)
    assert (found.episodes, found.answered) == ((), ())


def test_a_task_is_recalled_by_what_its_questions_are_about(maya: User) -> None:
    asked = Interaction(interaction_id="m", query=task_named("LaMP-4").query("tea"), ground_truth="Tea!", task="LaMP-4")
    maya.interactions.add([asked])
    assert [episode.similarity for episode in Recall(1)(query="tea", memory=maya.memory).answered] == [1.0]
