"""Totals from rows."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from ..data import html
from ..data.alignment import Spend
from ..data.task import Task
from .intervals import averaged, scored
from .metrics import Metrics, finite, metrics, scorer
from .record import Row, fingerprint

_SPENT = ("calls", "prompt_tokens", "completion_tokens", "seconds")


@dataclass(frozen=True)
class MethodSummary:
    """What one method achieved and what it spent."""

    n: int
    """Questions: scored, failed and unparsed, and those without a gold."""
    scored: int
    failed: int
    unparsed: int
    official: Metrics
    """By the official rules over all questions: no answer is a wrong answer."""
    scored_only: Metrics
    """By our rules over the scored questions alone."""
    per_user: Metrics
    """By the official rules for each user, averaged over users."""
    spend: Spend
    """All questions and the preparation of all users; `seconds` are their sum, not the time on the clock. Dollars are
    None unless the price of every call is known."""

    def as_json(self) -> dict[str, JsonValue]:
        """Return the summary as a JSON object; a metric that is `nan` or `inf` is null."""

        def finites(of: Metrics) -> dict[str, JsonValue]:
            return {name: finite(value) for name, value in of.items()}

        return {
            **{name: getattr(self, name) for name in ("n", "scored", "failed", "unparsed")},
            **finites(self.official),
            "per_user": finites(self.per_user),
            "scored_only": finites(self.scored_only),
            **{name: getattr(self.spend, name) for name in _SPENT},
        }


def _cell(value: JsonValue) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Evaluation:
    """An evaluation: its rows, and per method what they come to."""

    task: Task
    rows: tuple[Row, ...]
    """In the order in which they were finished."""
    methods: dict[str, MethodSummary]
    """By method name, in the order in which the methods ran."""

    @property
    def title(self) -> str:
        """Of its table."""
        return f"{self.task.name} (official rules)"

    @property
    def columns(self) -> tuple[str, ...]:
        """Of its table: counts, metrics by the official rules, and what was spent."""
        metrics = dict.fromkeys(metric for summary in self.methods.values() for metric in summary.official)
        return ("method", "scored", "failed", "unparsed", *metrics, *_SPENT)

    @property
    def cells(self) -> tuple[tuple[str, ...], ...]:
        """Of its table, a row for each method."""
        rows = {name: summary.as_json() for name, summary in self.methods.items()}
        return tuple((name, *(_cell(row.get(column)) for column in self.columns[1:])) for name, row in rows.items())

    def _repr_html_(self) -> str:
        """Show it in a notebook."""
        return html.table(self.columns, self.cells, self.title)

    @property
    def has_golds(self) -> bool:
        """Whether there is anything to score: LaMP's test split has no golds."""
        return any(row.gold is not None for row in self.rows)

    def as_json(self) -> dict[str, JsonValue]:
        """Return task, scorers, counts and the summary of each method as a JSON object."""
        return {
            "task": self.task.name,
            "scorer": scorer(self.task),
            "scored_only": "scored rows only, answers parsed leniently",
            "users": len({row.user_key for row in self.rows}),
            "questions": len({(row.user_key, row.question_id) for row in self.rows}),
            "methods": {name: summary.as_json() for name, summary in self.methods.items()},
        }


def unscored(evaluations: Iterable[Evaluation], most: int = 3) -> dict[str, int]:
    """Return the commonest reasons why rows have no score, and how many rows each has."""
    rows = (row for evaluation in evaluations for row in evaluation.rows if row.status in {"unparsed", "failed"})
    reasons = (f"{row.error}: {row.message}" if row.error else "an answer not in the form of the task" for row in rows)
    return dict(Counter(reasons).most_common(most))


def fingerprint_of_all(evaluations: Iterable[Evaluation]) -> str:
    """Return a hash of their rows: the same for the same answers, however long they took."""
    return fingerprint(row for evaluation in evaluations for row in evaluation.rows)


def summarise(task: Task, rows: Iterable[Row]) -> Evaluation:
    """Return what the rows come to."""
    by_method: dict[str, list[Row]] = defaultdict(list)
    for row in (kept := tuple(rows)):
        by_method[row.method].append(row)
    return Evaluation(task, kept, {method: _of_method(task, of_method) for method, of_method in by_method.items()})


def _of_method(task: Task, rows: Sequence[Row]) -> MethodSummary:
    counts = Counter(row.status for row in rows)
    known = [row for row in rows if row.gold is not None]
    return MethodSummary(
        n=len(rows),
        scored=counts["scored"],
        failed=counts["failed"],
        unparsed=counts["unparsed"],
        official=metrics(task, known),
        scored_only=metrics(task, scored(rows)),
        per_user=averaged(task, known).values,
        spend=_total(rows),
    )


def _total(rows: Iterable[Row]) -> Spend:
    """Return what all rows spent; work without a call costs nothing, whatever the price."""
    spends = [spend for row in rows for spend in (row.spend, row.preparation) if spend]
    free = [spend if spend.calls else spend.model_copy(update={"dollars": 0.0}) for spend in spends]
    return sum(free, start=Spend(dollars=0.0))
