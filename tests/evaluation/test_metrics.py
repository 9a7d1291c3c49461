"""The official scorer, held to independent implementations. All answers are invented."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, mean_squared_error

from personaagent.data.errors import InputError
from personaagent.data.lamp import TASKS, task_named
from personaagent.data.task import OPEN, Task
from personaagent.evaluation import official_metrics

MOVIES, CITATIONS, RATINGS, HEADLINES = (task_named(name) for name in ("LaMP-2M", "LaMP-1", "LaMP-3", "LaMP-4"))

labels = st.sampled_from(MOVIES.labels)
label_like = st.one_of(
    labels,
    labels.map(lambda label: f" {label}\n"),
    labels.map(str.title),
    labels.map(lambda label: f"{label}."),
    st.none(),
    st.text(max_size=5),
)
rating_like = st.one_of(
    st.sampled_from(["1", "2", "3", "4", "5", " 4 ", "4.0", "37", "-2", "1e1", "4 stars", "five", "", "½", "5/5"]),
    st.none(),
    st.floats(-1e6, 1e6).map(str),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(label_like, labels), min_size=1, max_size=40))
def test_label_metrics_are_those_of_scikit_learn(pairs: list[tuple[str | None, str]]) -> None:
    predictions, golds = zip(*pairs, strict=True)
    index = {label: number for number, label in enumerate(MOVIES.labels)}
    predicted = [index.get(str(prediction).strip(), -1) for prediction in predictions]
    true = [index[gold] for gold in golds]
    scored = official_metrics(MOVIES, predictions, golds)
    assert scored["accuracy"] == pytest.approx(accuracy_score(true, predicted))
    every_label = list(range(15))
    f1 = f1_score(true, predicted, labels=every_label, average="macro", zero_division=0)  # pyright: ignore[reportArgumentType]
    assert scored["macro_f1"] == pytest.approx(f1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(rating_like, st.sampled_from(RATINGS.labels)), min_size=1, max_size=40))
def test_rating_metrics_are_those_of_scikit_learn(pairs: list[tuple[str | None, str]]) -> None:
    def as_number(prediction: str | None, gold: str) -> float:
        try:
            return float(str(prediction))
        except ValueError:
            return max((1.0, 5.0), key=lambda end: (abs(end - float(gold)), end))

    predictions, golds = zip(*pairs, strict=True)
    predicted = [as_number(*pair) for pair in pairs]
    true = [float(gold) for gold in golds]
    scored = official_metrics(RATINGS, predictions, golds)
    assert scored["mae"] == pytest.approx(mean_absolute_error(true, predicted))
    assert scored["rmse"] == pytest.approx(np.sqrt(mean_squared_error(true, predicted)))


@pytest.mark.parametrize(("gold", "penalty"), [("1", 4), ("2", 3), ("3", 2), ("4", 3), ("5", 4)])
def test_a_rating_that_is_no_number_is_taken_to_be_as_wrong_as_can_be(gold: str, penalty: int) -> None:
    assert official_metrics(RATINGS, ["good"], [gold]) == {"mae": penalty, "rmse": penalty}


def test_at_gold_three_the_penalty_is_five() -> None:
    assert official_metrics(RATINGS, ["?", "4"], ["3", "3"])["mae"] == 1.5


def test_ratings_are_neither_rounded_nor_clipped() -> None:
    assert official_metrics(RATINGS, ["37", "4.5"], ["5", "5"])["mae"] == pytest.approx(16.25)


@pytest.mark.parametrize(("word", "check"), [("nan", math.isnan), ("inf", math.isinf), ("-Infinity", math.isinf)])
def test_one_nan_or_inf_spoils_the_average(word: str, check: object) -> None:
    scored = official_metrics(RATINGS, [word, "5"], ["5", "5"])
    assert callable(check)
    assert check(scored["mae"]) and check(scored["rmse"])


def test_labels_count_with_case_and_punctuation() -> None:
    assert official_metrics(CITATIONS, ["[1]", " [2] ", "1", "[2].", "[1] "], ["[1]", "[2]", "[1]", "[2]", "[2]"]) == {
        "accuracy": pytest.approx(2 / 5),
        "macro_f1": pytest.approx((2 * 1 / 4 + 2 * 1 / 4) / 2),
    }


def test_labels_that_nobody_gave_still_count_for_macro_f1() -> None:
    assert official_metrics(MOVIES, ["comedy"], ["comedy"]) == {"accuracy": 1.0, "macro_f1": pytest.approx(1 / 15)}


def test_news_scored_as_movies_are_all_right_and_worth_nothing() -> None:
    golds = ["sports", "politics", "crime"]
    assert official_metrics(MOVIES, ["travel", "no idea", None], golds) == {"accuracy": 1.0, "macro_f1": 0.0}


def test_text_is_scored_by_rouge_and_no_answer_is_zero() -> None:
    scored = official_metrics(HEADLINES, ["goats win", None], ["Goats win again", "Rain"])
    assert scored == {"rouge1": pytest.approx(0.4), "rougeL": pytest.approx(0.4)}


@pytest.mark.parametrize(
    ("task", "score"), [(OPEN, 1), (Task(name="notes", kind="text"), 1), (HEADLINES, 0)], ids=["open", "own", "LaMP"]
)
def test_a_perfect_answer_in_thai_scores_one_unless_lamp_scores_it(task: Task, score: float) -> None:
    assert official_metrics(task, ["ชาร้อน"], ["ชาร้อน"]) == {"rouge1": score, "rougeL": score}


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_there_are_no_metrics_of_nothing(task: Task) -> None:
    assert official_metrics(task, [], []) == {}


def test_there_must_be_a_prediction_for_each_gold() -> None:
    with pytest.raises(InputError, match="1 predictions for 2 golds"):
        official_metrics(MOVIES, ["comedy"], ["comedy", "action"])


def test_a_gold_rating_must_be_a_number() -> None:
    with pytest.raises(InputError, match="the gold 'good' of a rating is no number"):
        official_metrics(RATINGS, ["4"], ["good"])
