"""The numbers of a report, and the sentences that say what they mean."""

import json

import pytest

from personaagent.data.alignment import Spend
from personaagent.data.errors import UnknownNameError
from personaagent.evaluation.metrics import official_metrics
from personaagent.evaluation.paired import Difference, holm
from personaagent.evaluation.record import FinishedEvaluation
from personaagent.evaluation.report import Compared, TaskAnalysis, analyse, reading
from personaagent.evaluation.report.sections import findings

from . import made_up


def evaluation(of: str = "label", users: int = 6) -> FinishedEvaluation:
    tasks = {"label": made_up.FILMS, "rating": made_up.REVIEWS, "text": made_up.HEADLINES}
    protocol = made_up.protocol(tasks[of], users=made_up.USERS[:users])
    return FinishedEvaluation(protocol, tuple(made_up.rows(protocol)), ())


def analysis_with(*differences: Difference, metric: str = "accuracy") -> TaskAnalysis:
    """Return an analysis whose comparisons are these."""
    adjusted = holm([difference.p_value or 0.0 for difference in differences])
    names = ("personaagent", "majority")
    compared = tuple(Compared(*each) for each in zip(names, [metric] * 2, differences, adjusted, strict=False))
    analysis = TaskAnalysis(evaluation("rating" if metric == "mae" else "label"), "rag")
    vars(analysis)["compared"] = compared
    return analysis


def difference(value: float, p: float, needed: int | None = 210) -> Difference:
    return Difference(value, value - 0.1, value + 0.1, p, 6, needed)


def test_failed_and_unparsed_questions_are_counted_beside_the_scores() -> None:
    methods = TaskAnalysis(evaluation(), "rag").methods
    summary = methods["personaagent"].summary
    assert (summary.n, summary.scored, summary.failed, summary.unparsed) == (24, 23, 1, 0)
    assert methods["personaagent"].errors == {"LMError": 1}
    assert methods["rag"].errors == {"(form)": 1}
    assert methods["majority"].errors == {}


def test_the_pooled_metric_is_the_official_one() -> None:
    rows = [row for row in made_up.rows(made_up.protocol()) if row.method == "rag"]
    official = official_metrics(made_up.FILMS, [row.prediction for row in rows], [row.gold or "" for row in rows])
    pooled = TaskAnalysis(evaluation(), "rag").methods["rag"].pooled
    assert {metric: estimate.value for metric, estimate in pooled.items()} == pytest.approx(official)


def test_preparation_is_spent_and_work_without_calls_costs_nothing() -> None:
    methods = TaskAnalysis(evaluation(), "rag").methods
    assert methods["personaagent"].summary.spend.calls == 3 * (24 + 6)
    assert methods["personaagent"].tokens_per_question == 630 * (24 + 6) / 24
    assert methods["personaagent"].summary.spend.dollars is None
    assert methods["majority"].summary.spend.dollars == 0


def test_dollars_are_summed_where_they_are_known() -> None:
    of = evaluation()
    price = {"spend": Spend(calls=1, dollars=0.5), "preparation": None}
    priced = tuple(row.model_copy(update=price) for row in of.rows)
    methods = TaskAnalysis(FinishedEvaluation(of.protocol, priced, ()), "rag").methods
    assert methods["rag"].summary.spend.dollars == 12


def test_effects_are_of_each_user() -> None:
    effects = TaskAnalysis(evaluation(), "rag").effects
    assert set(effects) == {"majority", "personaagent"}
    assert effects["personaagent"] == (0.0, 0.5, 0.25, 0.25, 0.0, 0.25)


def test_a_baseline_is_chosen_by_name_never_by_score() -> None:
    films, reviews = evaluation(), evaluation("rating")
    assert [analysis.baseline for analysis in analyse([films, reviews])] == ["rag", "rag"]
    assert [analysis.baseline for analysis in analyse([films], "majority")] == ["majority"]
    without_rag = films.protocol.model_copy(update={"methods": ("majority", "personaagent")})
    few = FinishedEvaluation(without_rag, films.rows, ())
    assert [analysis.baseline for analysis in analyse([films, few], "rag")] == ["rag", "majority"]
    with pytest.raises(UnknownNameError, match="unknown baseline 'guess': use one of majority, rag, personaagent"):
        analyse([films], "guess")


def test_p_values_are_adjusted_over_the_methods_of_one_metric() -> None:
    compared = TaskAnalysis(evaluation(), "rag").compared
    assert [(comparison.method, comparison.metric) for comparison in compared] == [
        ("majority", "accuracy"),
        ("personaagent", "accuracy"),
        ("majority", "macro_f1"),
        ("personaagent", "macro_f1"),
    ]
    for metric in ("accuracy", "macro_f1"):
        of_metric = [comparison for comparison in compared if comparison.metric == metric]
        expected = holm([comparison.difference.p_value or 0.0 for comparison in of_metric])
        assert [comparison.adjusted_p for comparison in of_metric] == expected


def of_some_methods(*methods: str) -> FinishedEvaluation:
    """Return an evaluation in which these methods say how probable their answers are."""
    of = evaluation()
    rows = tuple(made_up.with_probabilities(row) if row.method in methods else row for row in of.rows)
    return FinishedEvaluation(of.protocol, rows, ())


def test_probabilities_are_compared_between_methods_that_have_them() -> None:
    analysis = TaskAnalysis(of_some_methods("rag", "personaagent"), "rag")
    assert list(analysis.methods["rag"].pooled) == ["accuracy", "macro_f1", "log_loss", "calibration_error"]
    assert list(analysis.methods["majority"].pooled) == ["accuracy", "macro_f1"]
    ours = [comparison for comparison in analysis.compared if comparison.metric == "log_loss"]
    assert [(comparison.method, comparison.is_better, comparison.adjusted_p) for comparison in ours] == [
        ("personaagent", True, ours[0].difference.p_value)
    ]


def test_a_baseline_without_probabilities_compares_none() -> None:
    compared = TaskAnalysis(of_some_methods("personaagent"), "rag").compared
    assert {comparison.metric for comparison in compared} == {"accuracy", "macro_f1"}


def test_a_null_result_is_said_to_be_one() -> None:
    nothing, needed = reading(analysis_with(difference(0.03, 0.4), difference(-0.02, 0.6, 1200)))
    assert nothing == "No method differs from rag in accuracy beyond noise with 6 users."
    assert needed == (
        "Users needed to see the observed differences with 80 % power: personaagent 210 (+0.030), "
        "majority 1,200 (-0.020)."
    )


def test_no_difference_at_all_needs_no_number_of_users() -> None:
    _, said = reading(analysis_with(difference(0.0, 1.0, None)))
    assert said == "No difference at all was observed of personaagent."


def test_a_clear_difference_is_named_with_its_direction() -> None:
    first, rest, _ = reading(analysis_with(difference(0.3, 0.0001), difference(-0.02, 0.6)))
    assert first == (
        "personaagent does better than rag: accuracy +0.300 [+0.200, +0.400], p < 0.001 after Holm's correction."
    )
    assert rest == "Beyond that, the other method does not differ from rag beyond noise with 6 users."


def test_findings_are_what_was_run_what_won_and_what_is_not_certain() -> None:
    ran, won, uncertain = findings(analysis_with(difference(-0.2, 0.0001), difference(0.3, 0.0001)))
    assert ran == (
        "3 methods (majority, rag, personaagent) answered 24 questions of 6 users (made-up) with openai/made-up."
    )
    assert won == (
        "majority does better than rag: accuracy +0.300 [+0.200, +0.400], p < 0.001 after Holm's correction; 1 worse."
    )
    assert uncertain == (
        "Not certain: how users unlike these 6 would fare; what the 2 answers that failed, or were not in the task's "
        "form, would have been."
    )


def test_findings_of_a_null_result_name_the_largest_difference() -> None:
    _, won, uncertain = findings(analysis_with(difference(0.03, 0.4), difference(-0.05, 0.6)))
    assert won == (
        "No method differs from rag in accuracy beyond noise after Holm's correction; the largest difference is "
        "that of majority, -0.050 [-0.150, +0.050]."
    )
    assert uncertain.startswith("Not certain: whether personaagent, majority differ from rag at all; ")


def test_findings_of_one_method_and_one_user_claim_little() -> None:
    protocol = made_up.protocol(methods=["rag"], users=made_up.USERS[:1])
    ran, won, uncertain = findings(TaskAnalysis(FinishedEvaluation(protocol, tuple(made_up.rows(protocol)), ()), "rag"))
    assert ran == "rag answered 4 questions of 1 user (made-up) with openai/made-up."
    assert won == "rag came to accuracy 0.750."
    assert "with 1 user there are no intervals" in uncertain


def test_less_of_an_error_is_better() -> None:
    [said, _] = reading(analysis_with(difference(-0.3, 0.01), difference(0.4, 0.01), metric="mae"))
    assert said.startswith("personaagent does better than rag: mae -0.300")
    assert reading(analysis_with(difference(0.3, 0.01), metric="mae"))[0].startswith("personaagent does worse than rag")


def test_json_has_every_number_and_none_that_json_lacks() -> None:
    of = evaluation("rating")
    no_number = of.rows[0].model_copy(update={"prediction": "nan"})
    analysis = TaskAnalysis(FinishedEvaluation(of.protocol, (no_number, *of.rows[1:]), ()), "rag")
    told = json.loads(json.dumps(analysis.as_json(), allow_nan=False))
    assert told["users"] == 6
    assert set(told["methods"]) == {"majority", "rag", "personaagent"}
    assert told["methods"]["majority"]["mae"] is None
    first = told["differences"][0]
    assert set(first) == {"method", "metric", "difference", "interval", "p", "adjusted_p", "users", "users_needed"}
    assert (first["method"], first["difference"], first["p"], first["adjusted_p"]) == ("majority", None, None, None)


@pytest.mark.parametrize("kind", ["label", "rating", "text"])
def test_one_user_has_no_intervals_but_a_report(kind: str) -> None:
    analysis = TaskAnalysis(evaluation(kind, users=1), "rag")
    assert {estimate.low for estimate in analysis.methods["rag"].pooled.values()} == {None}
    assert "with 1 user." in reading(analysis)[0]
