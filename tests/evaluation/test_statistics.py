"""Totals, intervals, differences and p-values, held to scipy and the official scorer. All answers are invented."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from personaagent.data.alignment import Spend
from personaagent.data.errors import InputError
from personaagent.data.lamp import task_named
from personaagent.data.task import Task
from personaagent.evaluation import Row, official_metrics, summarise
from personaagent.evaluation.intervals import (
    PLAIN,
    SHARE,
    SHARE_EXCESS,
    SIZE,
    Estimate,
    Sample,
    Scale,
    averaged,
    excess_intervals,
    intervals,
    pooled,
    scored,
)
from personaagent.evaluation.metrics import Array, metrics
from personaagent.evaluation.paired import compared, differences

CITATIONS, MOVIES, RATINGS, HEADLINES = (task_named(name) for name in ("LaMP-1", "LaMP-2M", "LaMP-3", "LaMP-4"))
ANSWERS = {
    "LaMP-1": st.sampled_from([*CITATIONS.labels, "[3]", None]),
    "LaMP-2M": st.sampled_from([*MOVIES.labels, "Comedy", " classic ", "drama", None]),
    "LaMP-3": st.sampled_from([*RATINGS.labels, "4.5", "good", "", None, "inf", "nan", "1e300"]),
    "LaMP-4": st.sampled_from(["goats win", "Goats win again", "rain on goats", "", None]),
}
GOLDS = {
    "LaMP-1": st.sampled_from(CITATIONS.labels),
    "LaMP-2M": st.sampled_from([*MOVIES.labels, "sports"]),
    "LaMP-3": st.sampled_from(RATINGS.labels),
    "LaMP-4": st.sampled_from(["goats win again", "rain", ""]),
}
every_task = pytest.mark.parametrize("task", [CITATIONS, MOVIES, RATINGS, HEADLINES], ids=lambda task: task.name)


def row(user: str, question: int, prediction: str | None, gold: str, **fields: object) -> Row:
    return Row.model_validate(
        {
            "method": "made-up",
            "task": "made-up",
            "user_key": user,
            "question_id": f"{user}-{question}",
            "gold": gold,
            "status": "failed" if prediction is None else "scored",
            "prediction": prediction,
            "parsed": prediction,
            "spend": Spend(),
            **fields,
        }
    )


def rows_of(answers: Mapping[str, Sequence[tuple[str | None, str]]]) -> list[Row]:
    return [row(user, number, *pair) for user, pairs in answers.items() for number, pair in enumerate(pairs)]


def answered(task: Task) -> st.SearchStrategy[list[Row]]:
    pairs = st.lists(st.tuples(ANSWERS[task.name], GOLDS[task.name]), min_size=1, max_size=6)
    return st.dictionaries(st.sampled_from("abcdefgh"), pairs, min_size=1).map(rows_of)


def rated(errors_by_user: Sequence[Sequence[int]]) -> list[Row]:
    """Return rows whose rating is off by these errors, a list per user."""
    return rows_of({f"user {number:02}": [(str(1 + e), "1") for e in es] for number, es in enumerate(errors_by_user)})


def official(task: Task, rows: Sequence[Row]) -> dict[str, float]:
    return official_metrics(task, [row.prediction for row in rows], [row.gold or "" for row in rows])


def as_means(values: Array, name: str = "mean") -> Sample:
    """Return users of equal weight whose one metric is a mean."""
    return Sample(
        np.stack([np.ones(len(values)), values], axis=-1), lambda totals: {name: totals[..., 1] / totals[..., 0]}
    )


@every_task
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_users_totals_add_up_to_the_official_metrics(task: Task, data: st.DataObject) -> None:
    rows = data.draw(answered(task))
    assert pooled(task, rows).values == pytest.approx(official(task, rows), rel=1e-12, nan_ok=True)


@every_task
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_resampled_totals_are_the_official_metrics_of_the_resampled_rows(task: Task, data: st.DataObject) -> None:
    rows = [row for row in data.draw(answered(task)) if row.prediction not in ("nan", "inf", "1e300")]
    users = sorted({row.user_key for row in rows})
    counts = data.draw(
        st.lists(st.integers(0, 3), min_size=len(users), max_size=len(users)).filter(any) if users else st.just([])
    )
    sample = pooled(task, rows)
    drawn = [row for user, count in zip(users, counts, strict=True) for row in rows * count if row.user_key == user]
    expected = official(task, drawn)
    if drawn:
        found = {name: float(value) for name, value in sample.metrics(np.array(counts) @ sample.totals).items()}
        assert found == pytest.approx(expected, rel=1e-12)


@every_task
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_the_average_over_users_is_that_of_the_summary(task: Task, data: st.DataObject) -> None:
    rows = data.draw(answered(task))
    summary = summarise(task, rows).methods["made-up"]
    assert averaged(task, rows).values == pytest.approx(summary.per_user, rel=1e-12, nan_ok=True)


@every_task
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_scored_rows_come_to_our_metrics(task: Task, data: st.DataObject) -> None:
    rows = [
        row.model_copy(update={"parsed": None, "status": "unparsed"}) if number % 3 == 0 else row
        for number, row in enumerate(data.draw(answered(task)))
    ]
    ours = metrics(task, scored(rows))
    assert pooled(task, scored(rows)).values == pytest.approx(ours, rel=1e-12, nan_ok=True)


def test_a_scored_row_is_taken_as_we_read_it() -> None:
    rows = [row("maya", 1, "Comedy.", "comedy", parsed="comedy"), row("maya", 2, None, "comedy")]
    assert intervals(pooled(MOVIES, rows))["accuracy"].value == 0
    assert intervals(pooled(MOVIES, scored(rows)))["accuracy"].value == 1


@settings(max_examples=20, deadline=None)
@given(data=st.data(), seed=st.integers(0, 9))
def test_the_order_of_rows_changes_nothing(data: st.DataObject, seed: int) -> None:
    rows = data.draw(answered(HEADLINES))
    shuffled = data.draw(st.permutations(rows))
    assert intervals(pooled(HEADLINES, rows), seed) == intervals(pooled(HEADLINES, shuffled), seed)
    assert intervals(averaged(HEADLINES, rows), seed) == intervals(averaged(HEADLINES, shuffled), seed)


@every_task
def test_there_is_nothing_to_say_of_nothing(task: Task) -> None:
    assert intervals(pooled(task, [])) == intervals(averaged(task, [])) == differences(task, [], []) == {}


def test_one_user_has_no_interval() -> None:
    assert astuple(intervals(pooled(RATINGS, rated([[0, 1, 4]])))["mae"]) == (pytest.approx(5 / 3), None, None)
    alone = differences(RATINGS, rated([[0, 1, 4]]), rated([[1, 1, 4]]))["mae"]
    assert astuple(alone) == (pytest.approx(-1 / 3), None, None, 1.0, 1, None)


def test_users_who_are_all_alike_show_no_interval() -> None:
    assert intervals(pooled(RATINGS, rated([[0, 0], [0], [0, 0, 0]])))["mae"] == Estimate(0.0, None, None)


@pytest.mark.parametrize("word", ["nan", "inf"])
def test_what_is_no_number_has_neither_interval_nor_p_value(word: str) -> None:
    rows = rows_of({"maya": [(word, "5"), ("4", "5")], "omar": [("1", "2")]})
    spoilt = intervals(pooled(RATINGS, rows))["mae"]
    assert not math.isfinite(spoilt.value) and spoilt.low is None and spoilt.high is None
    for baseline in (rows, [row.model_copy(update={"prediction": "3"}) for row in rows]):
        found = differences(RATINGS, rows, baseline)["rmse"]
        assert not math.isfinite(found.value)
        assert (found.low, found.high, found.p_value, found.users_needed) == (None, None, None, None)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_an_interval_holds_its_value_and_stays_in_the_range(data: st.DataObject) -> None:
    for name, estimate in intervals(pooled(CITATIONS, data.draw(answered(CITATIONS)))).items():
        if estimate.low is not None and estimate.high is not None:
            assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1, name


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_an_interval_of_a_difference_holds_its_value_and_stays_in_the_range(data: st.DataObject) -> None:
    rows = data.draw(answered(MOVIES))
    baseline = [row.model_copy(update={"prediction": data.draw(ANSWERS["LaMP-2M"])}) for row in rows]
    for name, difference in differences(MOVIES, rows, baseline).items():
        if difference.low is not None and difference.high is not None:
            assert -1 <= difference.low <= difference.value <= difference.high <= 1, name


scales = pytest.mark.parametrize(
    ("scale", "lowest", "highest"),
    [(SHARE, 0.0, 1.0), (SIZE, 0.0, math.inf), (SHARE_EXCESS, -1.0, 1.0), (PLAIN, -math.inf, math.inf)],
)


@scales
@given(value=st.floats(-1e6, 1e6))
def test_a_scale_leads_back_to_the_value(scale: Scale, lowest: float, highest: float, value: float) -> None:
    assume(scale is not SIZE or value > 0)
    within = np.array(min(max(value, lowest), highest))
    assert scale.back(scale.to(within)) == pytest.approx(within, rel=1e-9, abs=1e-9)


@scales
@given(first=st.floats(-700, 700), second=st.floats(-700, 700))
def test_a_scale_never_leads_out_of_the_range(
    scale: Scale, lowest: float, highest: float, first: float, second: float
) -> None:
    low, high = scale.back(np.array(sorted([first, second])))
    assert lowest <= low <= high <= highest


@pytest.mark.parametrize("users", [2, 10, 40])
def test_an_interval_of_differences_of_any_size_is_scipys_students_one(users: int) -> None:
    values = np.random.default_rng(5).gamma(2.0, size=users)
    found = excess_intervals(as_means(values))["mean"]
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_an_interval_of_an_error_is_the_one_of_its_logarithm() -> None:
    values = np.random.default_rng(5).gamma(2.0, size=10)
    found = intervals(as_means(values, "mae"), resamples=40_000)["mae"]
    drawn = stats.bootstrap((values,), np.mean, n_resamples=40_000, rng=np.random.default_rng(1)).bootstrap_distribution
    logarithm = math.log(values.mean())
    off = math.sqrt(10 / 9 * np.mean((np.log(drawn) - logarithm) ** 2)) * float(stats.t.ppf(0.975, 9))
    assert (found.low, found.high) == (
        pytest.approx(math.exp(logarithm - off), rel=0.02),
        pytest.approx(math.exp(logarithm + off), rel=0.02),
    )


def test_resamples_without_an_error_count_as_half_of_the_smallest() -> None:
    assert np.exp(SIZE.to(np.array([0.0, 0.2, 3.0]))) == pytest.approx([0.1, 0.2, 3.0])
    found = intervals(as_means(np.array([0.0] * 9 + [1.0]), "mae"))["mae"]
    assert found.low is not None and found.high is not None
    assert 0 < found.low < 0.1 < found.high < 1


def test_uneven_users_have_the_degrees_of_freedom_of_independent_questions() -> None:
    questions, answers = np.array([40.0, 9, 6, 6, 3, 1]), np.array([0.9, 0.5, 1, 0.4, 0.6, 0.3])
    totals = np.column_stack([questions, questions * answers])
    sample = Sample(totals, lambda sums: {"mae": sums[..., 1] / sums[..., 0]})
    shares = questions / questions.sum()
    residuals = np.eye(6) - shares
    squares = np.diag(shares) @ residuals @ np.diag(1 / questions) @ residuals.T @ np.diag(shares)
    student = float(stats.t.ppf(0.975, np.trace(squares) ** 2 / np.trace(squares @ squares)))

    value = sample.values["mae"]
    without = np.array([np.delete(totals, user, axis=0).sum(axis=0) for user in range(6)])
    jackknife = math.sqrt(5 * np.mean((without[:, 1] / without[:, 0] - value) ** 2))
    excess = excess_intervals(sample)["mae"]
    assert (excess.low, excess.high) == (
        pytest.approx(value - student * jackknife),
        pytest.approx(value + student * jackknife),
    )

    drawn = np.random.default_rng(1).multinomial(6, np.full(6, 1 / 6), size=40_000) @ totals
    bootstrap = math.sqrt(np.mean(np.log(drawn[:, 1] / drawn[:, 0] / value) ** 2))
    too_small = math.sqrt(np.trace(squares) * questions.sum())
    metric = intervals(sample, resamples=40_000)["mae"]
    assert metric.high == pytest.approx(value * math.exp(student * bootstrap / too_small), rel=0.02)


@pytest.mark.parametrize(("most", "scale"), [(1.0, SHARE), (1.5, SIZE)])
def test_a_metric_of_ones_own_is_a_share_unless_a_user_has_more_than_one(most: float, scale: Scale) -> None:
    values = np.array([most, *[0.96] * 8, 0.5])
    found = intervals(as_means(values), resamples=40_000)["mean"]
    drawn = stats.bootstrap((values,), np.mean, n_resamples=40_000, rng=np.random.default_rng(1)).bootstrap_distribution
    assert found.low is not None and found.high is not None
    low, observed, high = scale.to(np.array([found.low, found.value, found.high]))
    bias = np.mean(scale.to(drawn)) - observed if scale is SHARE else 0.0
    assert (low + high) / 2 == pytest.approx(observed - bias, abs=0.002 * (high - low))


@given(seed=st.integers(0, 99))
def test_an_interval_of_wrong_answers_mirrors_that_of_right_ones(seed: int) -> None:
    right = np.random.default_rng(seed).beta(2.0, 0.5, 10)
    there, back = (intervals(as_means(of, "accuracy"), resamples=500)["accuracy"] for of in (right, 1 - right))
    assert (there.low, there.high) == (pytest.approx(1 - (back.high or 0)), pytest.approx(1 - (back.low or 0)))


def test_with_many_users_an_interval_is_scipys_bca() -> None:
    values = np.random.default_rng(6).gamma(9.0, size=600)
    found = intervals(as_means(values))["mean"]
    expected = stats.bootstrap((values,), np.mean, method="BCa", rng=np.random.default_rng(1)).confidence_interval
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.05 * width)
    assert found.high == pytest.approx(expected.high, abs=0.05 * width)


def test_another_seed_moves_the_ends_of_an_interval_by_little() -> None:
    values = np.random.default_rng(7).gamma(2.0, size=30)
    ends = np.array([astuple(intervals(as_means(values), seed)["mean"]) for seed in range(12)], dtype=float)
    low, high = ends[:, 1], ends[:, 2]
    assert max(np.ptp(low), np.ptp(high)) < 0.06 * (high - low).mean()
    assert len(set(low)) > 1


@pytest.mark.parametrize("of", [pooled, averaged])
def test_with_few_users_the_p_value_is_scipys_exact_one(of: Callable[..., Sample]) -> None:
    generator = np.random.default_rng(8)
    method, baseline = ([generator.integers(0, spread, 3).tolist() for _ in range(9)] for spread in (3, 5))
    first, second = (of(RATINGS, rated(errors)) for errors in (method, baseline))
    found = compared(first, second)["mae"]
    by_user = (sample.totals[:, 1] for sample in (first, second))
    expected = stats.permutation_test(
        tuple(by_user), lambda a, b: np.mean(a) - np.mean(b), permutation_type="samples", n_resamples=2**9
    )
    assert found.p_value == pytest.approx(expected.pvalue)
    assert 0.001 < expected.pvalue < 0.5


def test_with_many_users_the_p_value_is_near_scipys() -> None:
    generator = np.random.default_rng(9)
    method, baseline = (generator.integers(0, spread, (40, 4)).tolist() for spread in (4, 5))
    found = differences(RATINGS, rated(method), rated(baseline))["mae"]
    expected = stats.permutation_test(
        (np.sum(method, axis=1), np.sum(baseline, axis=1)),
        lambda a, b, axis: np.mean(a, axis=axis) - np.mean(b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9_999,
        rng=np.random.default_rng(2),
    )
    assert found.p_value == pytest.approx(expected.pvalue, abs=0.01)


def test_a_random_p_value_is_never_zero() -> None:
    users = [[0, 0]] * 13
    found = differences(RATINGS, rated(users), rated([[4, 4]] * 13))["mae"]
    assert found.p_value is not None and 1e-4 <= found.p_value < 0.001


def test_a_method_does_not_differ_from_itself() -> None:
    rows = rated([[0, 1], [2, 2], [4]])
    assert astuple(differences(RATINGS, rows, rows)["rmse"]) == (0.0, None, None, 1.0, 3, None)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=14))
def test_swapping_the_methods_turns_the_sign_and_nothing_else(errors: list[tuple[int, int]]) -> None:
    method, baseline = (rated([[error] for error in of]) for of in zip(*errors, strict=True))
    there, back = differences(RATINGS, method, baseline)["mae"], differences(RATINGS, baseline, method)["mae"]
    assert (there.value, there.p_value, there.users_needed) == (
        pytest.approx(-back.value),
        pytest.approx(back.p_value),
        back.users_needed,
    )


def test_a_difference_is_the_method_less_the_baseline_in_each_metric() -> None:
    better, worse = rated([[0, 1], [0, 0, 1]]), rated([[2, 1], [1, 3, 1]])
    found = differences(RATINGS, better, worse)
    assert {name: difference.value for name, difference in found.items()} == {
        "mae": pytest.approx(2 / 5 - 8 / 5),
        "rmse": pytest.approx(math.sqrt(2 / 5) - math.sqrt(16 / 5)),
    }
    of_users = compared(averaged(RATINGS, better), averaged(RATINGS, worse))
    assert of_users["mae"].value == pytest.approx((1 / 2 + 1 / 3) / 2 - (3 / 2 + 5 / 3) / 2)


def test_methods_are_compared_on_the_same_questions() -> None:
    rows = rated([[0, 1], [2]])
    with pytest.raises(InputError, match="question 'user 00-1' of user 'user 00' is missing from the baseline's rows"):
        differences(RATINGS, rows, [row for row in rows if row.question_id != "user 00-1"])
    with pytest.raises(InputError, match="question 'user 01-0' of user 'user 01' is missing from the method's rows"):
        differences(RATINGS, rows[:2], rows)
    with pytest.raises(InputError, match="question 'user 00-0' of user 'user 00' is there twice"):
        differences(RATINGS, [*rows, rows[0]], rows)
