"""Scores: by probabilities where there are any, else by the metric of the task. All answers are invented."""

import math

import pytest

from personaagent.data.answer_weights import Distribution
from personaagent.data.errors import InputError
from personaagent.data.task import OPEN, Task
from personaagent.optimizers.scoring import score_of

LABEL = Task(name="mood", kind="label", labels=("calm", "cross"))
RATING = Task(name="stars", kind="rating", labels=("1", "2", "3", "4", "5"))


@pytest.mark.parametrize(("p", "score"), [(0.999999, 1), (0.02, 0), (0.001, 0), (math.sqrt(0.02), 0.5)])
def test_a_probability_scores_its_logarithm_between_a_fiftieth_and_1(p: float, score: float) -> None:
    assert score_of({"calm": p, "cross": 1 - p}, "cross", "Calm.", LABEL) == pytest.approx(score, abs=1e-6)


def test_an_answer_that_has_no_probability_scores_0() -> None:
    assert score_of({"1": 0.5, "2": 0.5}, "1", "3", RATING) == 0


@pytest.mark.parametrize("probabilities", [None, {}, {"calm": 0.0, "cross": 1.0}])
def test_without_probabilities_a_label_is_right_or_wrong(probabilities: Distribution | None) -> None:
    assert score_of(probabilities, " 'Cross' ", "cross", LABEL) == 1
    assert score_of(probabilities, "cross", "calm", LABEL) == 0


@pytest.mark.parametrize(
    ("task", "response", "ground_truth", "score"),
    [
        (RATING, "4", "5", 0.75),
        (RATING, "1.0", "5", 0),
        (RATING, "five", "5", 0),
        (OPEN, "a quiet old film", "A quiet film!", 6 / 7),
        (OPEN, None, "A quiet film!", 0),
    ],
)
def test_ratings_and_texts_are_scored_by_nearness(
    task: Task, response: str | None, ground_truth: str, score: float
) -> None:
    assert score_of(None, response, ground_truth, task) == pytest.approx(score)


def test_a_ground_truth_that_is_no_answer_is_refused() -> None:
    with pytest.raises(InputError, match=r"ground truth 'gloomy' is no answer of task 'mood': leave"):
        score_of(None, "calm", "gloomy", LABEL)
