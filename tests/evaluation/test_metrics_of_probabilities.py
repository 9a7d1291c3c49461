"""Log loss and calibration error: worked out by hand, and where they are and are not shown."""

import json
import math

import numpy as np
import pytest

from personaagent.data.alignment import Spend
from personaagent.data.lamp import task_named
from personaagent.evaluation import Row, official_metrics, summarise
from personaagent.evaluation.intervals import averaged, intervals, pooled
from personaagent.evaluation.metrics import have_probabilities, metrics
from personaagent.evaluation.paired import differences

RATINGS = task_named("LaMP-3")
STARS = RATINGS.labels
WORST = -math.log(1e-3)


def spread(answer: str, probability: float) -> dict[str, float]:
    """Return a distribution with this probability of an answer; the others share the rest."""
    return {star: probability if star == answer else (1 - probability) / 4 for star in STARS}


def row(number: int, gold: str, probabilities: dict[str, float] | None, **fields: object) -> Row:
    answer = max(probabilities, key=probabilities.__getitem__) if probabilities else "3"
    return Row.model_validate(
        {
            "method": "made-up",
            "task": RATINGS.name,
            "user_key": f"user {number % 3}",
            "question_id": str(number),
            "gold": gold,
            "status": "scored",
            "prediction": answer,
            "parsed": answer,
            "probabilities": probabilities,
            "spend": Spend(),
            **fields,
        }
    )


def failed(number: int, gold: str) -> Row:
    return row(number, gold, None, status="failed", prediction=None, parsed=None)


def rows(confidence: float = 0.8) -> list[Row]:
    """Return twelve questions of three users: the most probable answer is right in two of three."""
    return [row(number, "4" if number % 12 < 8 else "2", spread("4", confidence)) for number in range(12)]


def test_log_loss_is_the_mean_surprise_at_the_gold() -> None:
    found = metrics(RATINGS, [row(0, "4", spread("4", 0.8)), row(1, "2", spread("4", 0.8))])
    assert found["log_loss"] == pytest.approx(-(math.log(0.8) + math.log(0.05)) / 2)


def test_a_gold_that_was_called_impossible_counts_as_one_in_a_thousand() -> None:
    impossible = {"1": 0.0, "2": 0.0, "3": 0.4, "4": 0.6, "5": 0.0}
    assert metrics(RATINGS, [row(0, "1", impossible)])["log_loss"] == pytest.approx(WORST)


def test_calibration_error_weighs_the_bins_by_their_questions() -> None:
    sure = [row(number, "4", spread("4", 0.93)) for number in range(3)]
    unsure = [row(3, "4", spread("4", 0.52)), row(4, "1", spread("4", 0.54))]
    assert metrics(RATINGS, [*sure, *unsure])["calibration_error"] == pytest.approx(3 / 5 * 0.07 + 2 / 5 * 0.03)


def test_who_is_right_as_often_as_sure_is_calibrated() -> None:
    assert metrics(RATINGS, rows(2 / 3))["calibration_error"] == pytest.approx(0)
    assert metrics(RATINGS, rows(0.9))["calibration_error"] == pytest.approx(0.9 - 2 / 3)


def test_the_most_probable_answer_counts_even_if_another_was_given() -> None:
    median = row(0, "4", {"1": 0.0, "2": 0.3, "3": 0.25, "4": 0.45, "5": 0.0}, prediction="3", parsed="3")
    assert metrics(RATINGS, [median])["calibration_error"] == pytest.approx(0.55)


def test_no_answer_is_as_bad_as_a_certain_wrong_one() -> None:
    answered = [row(0, "4", spread("4", 0.99))]
    found = metrics(RATINGS, [*answered, failed(1, "4")])
    assert found["log_loss"] == pytest.approx((-math.log(0.99) + WORST) / 2)
    assert found["calibration_error"] == pytest.approx(abs(0.99 + 1 - 1) / 2)
    summary = summarise(RATINGS, [*answered, failed(1, "4")]).methods["made-up"]
    assert summary.scored_only["log_loss"] == pytest.approx(-math.log(0.99))


def test_golds_are_read_as_answers_are() -> None:
    assert metrics(RATINGS, [row(0, "4.0", spread("4", 0.8))])["log_loss"] == pytest.approx(-math.log(0.8))


def test_official_metrics_stay_as_they_are() -> None:
    given = [*rows(), failed(12, "5")]
    found = metrics(RATINGS, given)
    expected = official_metrics(RATINGS, [row.prediction for row in given], [row.gold or "" for row in given])
    assert list(found) == ["mae", "rmse", "log_loss", "calibration_error"]
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (rows(), True),
        ([*rows(), failed(12, "4")], True),
        ([*rows(), row(12, "4", spread("4", 1.0))], True),
        ([*rows(), row(12, "4", None)], False),
        (rows(1.0), False),
        ([row(0, "4", None)], False),
        ([failed(0, "4")], False),
        ([], False),
    ],
)
def test_probabilities_count_where_every_scored_row_has_them_and_not_all_are_certain(
    given: list[Row], shown: bool
) -> None:
    assert have_probabilities(given) is shown
    assert ("log_loss" in metrics(RATINGS, given)) is shown


def test_totals_of_users_add_up() -> None:
    sample = pooled(RATINGS, rows())
    twice = sample.metrics(np.array([2, 2, 2]) @ sample.totals)
    assert {name: float(value) for name, value in twice.items()} == pytest.approx(metrics(RATINGS, rows()))


def test_they_have_intervals_and_paired_tests() -> None:
    wrong = [row(number, "2" if number % 4 else "4", spread("4", 0.8)) for number in range(12)]
    for name in ("log_loss", "calibration_error"):
        estimate = intervals(pooled(RATINGS, wrong))[name]
        assert estimate.low is None or estimate.low <= estimate.value
        compared = differences(RATINGS, rows(), wrong)[name]
        assert compared.value == pytest.approx(metrics(RATINGS, rows())[name] - estimate.value)
        assert compared.value < 0
        assert compared.p_value is not None


def test_a_method_without_probabilities_is_compared_in_the_other_metrics_only() -> None:
    without = [row(number, "4", None) for number in range(12)]
    assert list(differences(RATINGS, rows(), without)) == ["mae", "rmse"]
    assert list(differences(RATINGS, without, rows())) == ["mae", "rmse"]


def test_the_calibration_error_of_one_user_is_not_averaged() -> None:
    assert list(intervals(averaged(RATINGS, rows()))) == ["mae", "rmse", "log_loss"]


def test_they_are_in_the_summary_as_json() -> None:
    of_method = json.loads(json.dumps(summarise(RATINGS, rows()).as_json()))["methods"]["made-up"]
    assert of_method["log_loss"] == pytest.approx(metrics(RATINGS, rows())["log_loss"])
    assert set(of_method["per_user"]) == {"mae", "rmse", "log_loss"}
