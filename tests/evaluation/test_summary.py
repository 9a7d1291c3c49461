import json
import math

import pytest

from personaagent.data.alignment import Spend
from personaagent.data.lamp import task_named
from personaagent.evaluation import Row, summarise

RATINGS, HEADLINES = task_named("LaMP-3"), task_named("LaMP-4")


def row(question_id: str, prediction: str | None, gold: str, **fields: object) -> Row:
    return Row.model_validate(
        {
            "method": "made-up",
            "task": "LaMP-3",
            "user_key": "maya",
            "question_id": question_id,
            "gold": gold,
            "status": "scored" if prediction else "failed",
            "prediction": prediction,
            "parsed": prediction,
            "spend": Spend(calls=1, prompt_tokens=10, completion_tokens=2, seconds=0.5),
            **fields,
        }
    )


ROWS = [
    row("1", "5", "5"),
    row("2", "3", "5"),
    row("3", None, "4"),
    row("4", "about four", "4", status="unparsed", parsed=None, user_key="omar"),
    row("5", "1", "1", user_key="omar", preparation=Spend(calls=7, seconds=3)),
]


def test_failures_count_as_wrong_in_one_policy_and_not_at_all_in_the_other() -> None:
    summary = summarise(RATINGS, ROWS).methods["made-up"]
    assert (summary.n, summary.scored, summary.failed, summary.unparsed) == (5, 3, 1, 1)
    assert summary.official["mae"] == pytest.approx((0 + 2 + 3 + 3 + 0) / 5)
    assert summary.scored_only == {"mae": pytest.approx(2 / 3), "rmse": pytest.approx(math.sqrt(4 / 3))}


def test_the_average_per_user_gives_each_user_the_same_weight() -> None:
    summary = summarise(RATINGS, ROWS).methods["made-up"]
    assert summary.per_user["mae"] == pytest.approx((5 / 3 + 3 / 2) / 2)


def test_what_preparation_took_is_part_of_the_spend() -> None:
    assert summarise(RATINGS, ROWS).methods["made-up"].spend == Spend(
        calls=12, prompt_tokens=50, completion_tokens=10, seconds=5.5
    )


def test_the_json_has_the_columns_that_scripts_read() -> None:
    written = json.loads(json.dumps(summarise(RATINGS, ROWS).as_json()))
    assert (written["task"], written["users"], written["questions"]) == ("LaMP-3", 2, 5)
    assert "021b8607" in written["scorer"]
    of_method = written["methods"]["made-up"]
    assert list(of_method) == [
        *("n", "scored", "failed", "unparsed", "mae", "rmse", "per_user", "scored_only"),
        *("calls", "prompt_tokens", "completion_tokens", "seconds"),
    ]
    assert set(of_method["per_user"]) == set(of_method["scored_only"]) == {"mae", "rmse"}


def test_text_has_rouge_columns() -> None:
    written = summarise(HEADLINES, [row("1", "Goats win", "Goats lose", task="LaMP-4")]).as_json()
    assert '"rouge1": 0.5, "rougeL": 0.5' in json.dumps(written)


def test_a_metric_that_is_no_number_is_null() -> None:
    written = summarise(RATINGS, [row("1", "nan", "4", status="unparsed", parsed=None)]).as_json()
    of_method = json.loads(json.dumps(written, allow_nan=False))["methods"]["made-up"]
    assert (of_method["mae"], of_method["rmse"], of_method["scored_only"]) == (None, None, {})


def test_methods_stay_apart_and_in_order() -> None:
    rows = [row("1", "5", "5", method="b"), row("1", "1", "5", method="a"), row("2", "5", "5", method="b")]
    methods = summarise(RATINGS, rows).methods
    assert [(name, summary.n, summary.official["mae"]) for name, summary in methods.items()] == [
        ("b", 2, 0),
        ("a", 1, 4),
    ]


def test_questions_of_two_users_count_twice_even_under_one_id() -> None:
    rows = [row("1", "5", "5"), row("1", "4", "4", user_key="omar")]
    assert summarise(RATINGS, rows).as_json()["questions"] == 2
