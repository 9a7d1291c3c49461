"""From what an LM says to the answer that is given."""

import logging

import pytest

from personaagent.data.answer_weights import AnswerWeights, uniform
from personaagent.data.interaction import Interaction
from personaagent.data.statement import Episode
from personaagent.programs.weighing import DOUBT, decided, experts_of, serves, softened, weighed

from .conftest import RATING, TASK

EVEN = uniform(TASK.labels)
WEIGHTS = AnswerWeights(lm="made-up/lm", task=TASK.name, form="lean:k=4", leaning=EVEN, base_rate=EVEN)
TORN = {"comedy": 0.5, "classic": 0.3, "action": 0.2}


def episode(tag: str | None, similarity: float) -> Episode:
    one = Interaction(interaction_id=f"{tag} {similarity}", query="q", ground_truth=tag, task=TASK.name)
    return Episode(interaction=one, similarity=similarity)


def test_without_weights_the_most_probable_answer_is_given() -> None:
    found = decided(TASK, TORN, {})
    assert (found.response, found.experts) == ("comedy", None)
    assert found.probabilities == pytest.approx(TORN)


def test_multipliers_change_the_answer_and_those_missing_are_1() -> None:
    found = decided(TASK, TORN, {"comedy": 0.1})
    assert found.response == "classic"
    assert sum(found.probabilities.values()) == pytest.approx(1)


def test_a_rating_is_the_median() -> None:
    assert decided(RATING, {"1": 0.4, "2": 0.0, "3": 0.2, "4": 0.0, "5": 0.4}, {}).response == "3"


def test_what_the_user_answers_most_wins_over_an_lm_that_is_torn() -> None:
    past = [episode("action", 0.0)] * 20
    found = weighed(TASK, TORN, WEIGHTS, past)
    assert found.response == "action"
    assert found.experts is not None and found.experts.prior["action"] > 0.8


def test_the_lms_leaning_is_taken_out() -> None:
    weights = WEIGHTS.model_copy(update={"leaning": TORN})
    assert experts_of(TORN, weights, []).lm == pytest.approx(EVEN)


def test_other_multipliers_take_the_place_of_the_leaning() -> None:
    assert experts_of(TORN, WEIGHTS, [], {"comedy": 0.0}).lm["comedy"] == 0


def test_a_certain_lm_leaves_every_answer_possible() -> None:
    certain = {"comedy": 1.0, "classic": 0.0, "action": 0.0}
    assert softened(certain)["classic"] == pytest.approx(DOUBT / 3)
    assert sum(softened(certain).values()) == pytest.approx(1)
    assert softened(TORN) == TORN


def test_weights_serve_their_own_lm_and_task_alone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert serves(WEIGHTS, TASK, "made-up/lm")
        assert caplog.messages == []
        assert not any(serves(WEIGHTS, TASK, "made-up/another") for _ in range(2))
        assert not serves(WEIGHTS, RATING, "made-up/lm")
    assert ["made-up/another" in message for message in caplog.messages] == [True, False]
