"""Every number of a report, from the rows: computed once, then shown by tables, figures and MLflow alike."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pydantic import JsonValue

from ...data.errors import UnknownNameError
from ...data.task import Task
from ..intervals import Estimate, averaged, intervals, pooled
from ..metrics import ERRORS, finite
from ..names import ablations
from ..paired import Difference, differences, holm
from ..record import FinishedEvaluation
from ..summary import MethodSummary, summarise

MAIN_METRICS = {"label": "accuracy", "rating": "mae", "text": "rouge1"}
"""The metric that sentences and figures are about, by kind of task."""

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class MethodResult:
    """What one method came to on one task."""

    name: str
    summary: MethodSummary
    pooled: dict[str, Estimate]
    """The metrics over all questions, with 95 % intervals over users: the official ones, then ours if there are any."""
    per_user: dict[str, Estimate]
    """The metrics of each user, averaged over users; without the calibration error."""
    errors: dict[str, int]
    """Questions without a score by the name of their error, `(form)` for an answer in the wrong form."""

    @property
    def tokens_per_question(self) -> float:
        """Tokens of prompts and completions, preparation included."""
        spend = self.summary.spend
        return (spend.prompt_tokens + spend.completion_tokens) / self.summary.n

    def as_json(self) -> dict[str, JsonValue]:
        """Return the numbers as a JSON object."""
        return {
            **self.summary.as_json(),
            "dollars": self.summary.spend.dollars,
            "intervals": {metric: _interval(estimate) for metric, estimate in self.pooled.items()},
            "per_user_intervals": {metric: _interval(estimate) for metric, estimate in self.per_user.items()},
            "tokens_per_question": self.tokens_per_question,
            "errors": dict(self.errors),
        }


@dataclass(frozen=True)
class Compared:
    """A method against another, on the same questions."""

    method: str
    metric: str
    difference: Difference
    """The method's metric less the other's; for an error, less than 0 is better."""
    adjusted_p: float | None
    """After Holm's correction over the methods that were compared in this metric; None if there is no p-value."""

    @property
    def is_significant(self) -> bool:
        """Whether the difference is more than noise, at 5 % over all methods that were compared in this metric."""
        return self.adjusted_p is not None and self.adjusted_p <= SIGNIFICANT

    @property
    def is_better(self) -> bool:
        """Whether the method did better, by whatever little."""
        return is_better(self.metric, self.difference.value)

    def as_json(self) -> dict[str, JsonValue]:
        """Return the comparison as a JSON object."""
        difference = self.difference
        return {
            "method": self.method,
            "metric": self.metric,
            "difference": finite(difference.value),
            "interval": _interval(difference),
            "p": difference.p_value,
            "adjusted_p": self.adjusted_p,
            "users": difference.users,
            "users_needed": difference.users_needed,
        }


@dataclass(frozen=True)
class TaskAnalysis:
    """One task: its methods, and how they differ."""

    evaluation: FinishedEvaluation
    baseline: str

    @property
    def task(self) -> Task:
        """What was asked."""
        return self.evaluation.protocol.task

    @property
    def main_metric(self) -> str:
        """The metric that sentences and figures are about."""
        return self.task.metric or MAIN_METRICS[self.task.kind]

    @cached_property
    def methods(self) -> dict[str, MethodResult]:
        """By name, in the order in which they ran."""
        summaries = summarise(self.task, self.evaluation.rows).methods
        return {name: self._result(name, summaries[name]) for name in self.evaluation.protocol.methods}

    @cached_property
    def compared(self) -> tuple[Compared, ...]:
        """Each other method against the baseline, metric by metric."""
        return self._against(self.baseline, [name for name in self.methods if name != self.baseline])

    @property
    def compared_in_main_metric(self) -> list[Compared]:
        """Those of the comparisons that sentences are about."""
        return [comparison for comparison in self.compared if comparison.metric == self.main_metric]

    @cached_property
    def ablated(self) -> tuple[Compared, ...]:
        """Each ablation against the whole system, in the main metric; empty if there are none."""
        lacking = ablations(self.methods)
        compared = self._against(lacking["nothing"], list(lacking.values())[1:]) if lacking else ()
        return tuple(comparison for comparison in compared if comparison.metric == self.main_metric)

    @cached_property
    def effects(self) -> dict[str, tuple[float, ...]]:
        """The main metric of each user less that under the baseline, users in order, by method."""
        samples = {name: averaged(self.task, self.evaluation.rows_of(name)) for name in self.methods}
        values = {name: sample.metrics(sample.totals)[self.main_metric] for name, sample in samples.items()}
        baseline = values.pop(self.baseline)
        return {name: tuple((of_method - baseline).tolist()) for name, of_method in values.items()}

    def as_json(self) -> dict[str, JsonValue]:
        """Return the numbers as a JSON object; what is `nan`, `inf` or unknown is null."""
        return {
            "task": self.task.name,
            "users": self.evaluation.protocol.n_users,
            "questions": self.evaluation.protocol.n_questions,
            "baseline": self.baseline,
            "methods": {name: result.as_json() for name, result in self.methods.items()},
            "differences": [comparison.as_json() for comparison in self.compared],
        }

    def _result(self, name: str, summary: MethodSummary) -> MethodResult:
        rows = self.evaluation.rows_of(name)
        return MethodResult(
            name,
            summary,
            pooled=intervals(pooled(self.task, rows)),
            per_user=intervals(averaged(self.task, rows)),
            errors=dict(Counter(row.error or "(form)" for row in rows if row.status != "scored").most_common()),
        )

    def _against(self, baseline: str, methods: Sequence[str]) -> tuple[Compared, ...]:
        of_baseline = self.evaluation.rows_of(baseline)
        found = {name: differences(self.task, self.evaluation.rows_of(name), of_baseline) for name in methods}
        compared: list[Compared] = []
        for metric in self.methods[baseline].pooled:
            family = {name: of_method[metric] for name, of_method in found.items() if metric in of_method}
            known = {name: difference.p_value for name, difference in family.items() if difference.p_value is not None}
            adjusted = dict(zip(known, holm(list(known.values())), strict=True))
            compared += (Compared(name, metric, family[name], adjusted.get(name)) for name in family)
        return tuple(compared)


def analyse(evaluations: Sequence[FinishedEvaluation], baseline: str | None = None) -> tuple[TaskAnalysis, ...]:
    """Return the numbers of evaluations, of one task each.

    Others are compared with the baseline. A task without it, like all tasks by default, has `rag`, or else the method
    that ran first: never one that is chosen by its score.

    Raises:
        UnknownNameError: No evaluation has the baseline.
    """
    known = dict.fromkeys(name for evaluation in evaluations for name in evaluation.protocol.methods)
    if baseline is not None and baseline not in known:
        raise UnknownNameError("baseline", baseline, list(known))

    def baseline_of(methods: Sequence[str]) -> str:
        return next((name for name in (baseline, "rag") if name is not None and name in methods), methods[0])

    return tuple(TaskAnalysis(of_task, baseline_of(of_task.protocol.methods)) for of_task in evaluations)


def is_better(metric: str, difference: float) -> bool:
    """Whether a difference of a metric is an improvement."""
    return difference < 0 if metric in ERRORS else difference > 0


def _interval(estimate: Estimate) -> list[JsonValue]:
    return [finite(estimate.low), finite(estimate.high)]
