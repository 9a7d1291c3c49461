"""How the nearest vote. All histories are made up."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personaagent.data.errors import InputError
from personaagent.data.interaction import Interaction
from personaagent.data.lamp import task_named
from personaagent.data.task import Task
from personaagent.programs.baselines.retrievers import Bm25Retriever
from personaagent.programs.baselines.voting import Knn

FILMS = Task(name="LaMP-2M", kind="label", labels=("comedy", "classic", "action"), template="Which tag? {content}")
CHOICE = (
    'For an author who has written the paper with the title "Wool", which reference is related? Just answer with [1] '
    'or [2] without explanation. [1]: "Parsing with forks" [2]: "Sheep and goats in parsing"'
)


class InThisOrder:
    """Finds a history in the order in which it is."""

    def __init__(self, history: Sequence[Interaction]) -> None:
        self._history = tuple(history)

    def top(self, query: str, k: int) -> tuple[Interaction, ...]:
        return self._history[:k]


def nearest_first(*answers: str | None) -> list[Interaction]:
    return [
        Interaction(interaction_id=str(number), query="made up", ground_truth=answer)
        for number, answer in enumerate(answers)
    ]


def titled(*titles: str) -> list[Interaction]:
    return [
        Interaction(interaction_id=title, query=title, task="LaMP-1", metadata={"title": title}) for title in titles
    ]


def answer(task: Task, history: Sequence[Interaction], k: int = 8, query: str = "anything") -> str | None:
    return Knn(task, history, InThisOrder(history), k)(query=query).response


@pytest.mark.parametrize(
    ("answers", "k", "response"),
    [
        (("comedy", "classic", "classic"), 3, "classic"),
        (("comedy", "classic", "classic"), 2, "comedy"),
        (("action", "classic", "classic", "action"), 4, "action"),
        (("classic", "action", "action", "classic"), 4, "classic"),
        ((None, "comedy", None, "classic", "classic"), 1, "comedy"),
    ],
    ids=["most votes", "only k vote", "tie", "tie the other way round", "without ground truth there is no vote"],
)
def test_the_nearest_vote_and_of_equals_the_nearest_wins(
    answers: tuple[str | None, ...], k: int, response: str
) -> None:
    assert answer(FILMS, nearest_first(*answers), k) == response


def test_a_rating_is_voted_for_not_averaged() -> None:
    assert answer(task_named("LaMP-3"), nearest_first("5", "1", "1", "5", "5")) == "5"


def test_a_text_is_that_of_the_nearest() -> None:
    assert answer(task_named("LaMP-4"), nearest_first("Goats win", "Goats lose", "Goats lose")) == "Goats win"


@given(st.lists(st.sampled_from(FILMS.labels), min_size=1), st.integers(1, 12))
def test_the_response_is_a_most_frequent_answer_of_the_k_nearest(answers: list[str], k: int) -> None:
    response = answer(FILMS, nearest_first(*answers), k)
    voted = answers[:k]
    assert voted.count(str(response)) == max(map(voted.count, voted))


async def test_neighbours_are_those_of_the_retriever_and_nothing_is_spent() -> None:
    history = [
        Interaction(interaction_id=plot, query=FILMS.query(plot), ground_truth=tag, task=FILMS.name)
        for plot, tag in (("A keeper counts ships", "classic"), ("Bakers swap shops", "comedy"), ("Bees", "action"))
    ]
    program = Knn(FILMS, history, Bm25Retriever(history, FILMS), k=1)
    sync, concurrent = program(query=FILMS.query("ships")), await program.acall(query=FILMS.query("shops"))
    assert (sync.response, concurrent.response) == ("classic", "comedy")
    assert sync.spend.calls == 0


@pytest.mark.parametrize(
    ("titles", "response"),
    [
        (("Parsing forks", "Goats", "Sheep"), "[1]"),
        (("SHEEP", "GOATS"), "[2]"),
        (("Astronomy",), "[1]"),
    ],
    ids=["the larger part, not the most words", "whatever the case", "none: the first"],
)
def test_a_citation_is_chosen_by_words_of_past_titles(titles: tuple[str, ...], response: str) -> None:
    assert answer(task_named("LaMP-1"), titled(*titles), query=CHOICE) == response


def test_a_citation_without_candidates_has_no_answer() -> None:
    assert answer(task_named("LaMP-1"), titled("Parsing"), query="x no template") is None


def test_what_cannot_be_voted_on_is_refused() -> None:
    with pytest.raises(InputError, match="no interaction of this user has one"):
        answer(task_named("LaMP-7"), nearest_first(None, None))
    with pytest.raises(InputError, match="by past titles"):
        answer(task_named("LaMP-1"), nearest_first("[1]"))
    with pytest.raises(InputError, match="k is 0"):
        answer(FILMS, nearest_first("comedy"), k=0)
