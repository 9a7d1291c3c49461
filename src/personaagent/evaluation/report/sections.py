"""What a report says, section by section; a section without data is left out."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import groupby

from ...data.alignment import Spend
from ..calibration import BINS, CALIBRATION_ERROR, LEAST_PROBABILITY, LOG_LOSS
from ..protocol import Protocol
from ..scores import ERRORS
from . import figures
from .analysis import Compared, MethodResult, TaskAnalysis
from .document import Block, Part, Section, Table, Words
from .names import ablations, is_variant, series
from .words import number, probability, reading, signed, with_interval

_ALL_TASKS = "All tasks"
_CALIBRATION = (
    f"{LOG_LOSS} and {CALIBRATION_ERROR} are ours, of methods that say how probable each answer is: the mean of "
    f"-log p(ground truth), with p at least {LEAST_PROBABILITY}; and how far the confidence in the most probable "
    f"answer is from how often it is right, over {BINS} bins. A question without an answer counts as certain and wrong."
)

PartOf = Callable[[TaskAnalysis], Sequence[Block]]
"""Says something about one task; nothing if there is no data for it."""


def section(title: str, analyses: Iterable[TaskAnalysis], part_of: PartOf) -> Section:
    """Return a section with a part for each task that has something to say."""
    parts = (Part(analysis.task.name, tuple(part_of(analysis))) for analysis in analyses)
    return Section(title, tuple(part for part in parts if part.blocks))


def what_was_run(analyses: Sequence[TaskAnalysis]) -> Section:
    """List the protocols: what the tasks have in common, then what each has of its own."""
    protocols = [analysis.evaluation.protocol for analysis in analyses]
    told = [_told(protocol) for protocol in protocols]
    names = list(dict.fromkeys(name for of_task in told for name in of_task))
    own = [name for name in names if len({of_task.get(name, "") for of_task in told}) > 1]
    tables = [Table(("", ""), tuple((name, value) for name, value in told[0].items() if name not in own))]
    if own:
        tables.append(Table(tuple(own), tuple(tuple(of_task.get(name, "") for name in own) for of_task in told)))
    notes = dict.fromkeys(note for protocol in protocols for note in protocol.notes)
    title = _ALL_TASKS if len(analyses) > 1 else analyses[0].task.name
    return Section("What was run", (Part(title, (*tables, *(Words(note) for note in notes))),))


def all_results(analyses: Sequence[TaskAnalysis]) -> Section:
    """Show what each method came to: in all tasks beside each other, then task by task."""
    of_tasks = section("Results", analyses, results)
    overview = (Part(_ALL_TASKS, (_main_metrics(analyses),)),) if len(analyses) > 1 else ()
    return replace(of_tasks, parts=(*overview, *of_tasks.parts))


def results(analysis: TaskAnalysis) -> list[Block]:
    """Show what each method came to and what it spent, why questions have no score, and how frequent labels are."""
    methods = list(analysis.methods.values())
    metrics = list(dict.fromkeys(metric for method in methods for metric in method.pooled))
    blocks: list[Block] = [
        _scores(methods, metrics),
        Words(
            "Official rules over all questions: no answer counts as a wrong answer. Brackets: 95 % intervals over "
            "users. Per user: the metric of each user, averaged. Scored only: over the questions with an answer in "
            f"the form of the task. {_directions(metrics)}"
        ),
        *([Words(_CALIBRATION)] if LOG_LOSS in metrics else []),
        *([figures.methods(analysis)] if len(methods) > 1 else []),
        _spends(methods),
    ]
    if any(method.errors for method in methods):
        blocks.append(_errors(methods))
    if analysis.task.kind != "text":
        blocks.append(_label_counts(analysis))
    return blocks


def differences(analysis: TaskAnalysis) -> list[Block]:
    """Show each method against the baseline, and say what that means."""
    if not analysis.compared:
        return []
    sentences = [Words(sentence) for sentence in reading(analysis)]
    return [*sentences, _compared(analysis.compared, f"Each method less {analysis.baseline}, paired by question.")]


def drawings(analysis: TaskAnalysis) -> list[Block]:
    """Draw effects per user, ablations, scaling and cost."""
    blocks: list[Block] = []
    if analysis.evaluation.protocol.n_users > 1:
        blocks += (figures.effect_per_user(analysis, name) for name in analysis.effects if not is_variant(name))
    if ablations(analysis.methods):
        blocks.append(_compared(analysis.ablated, "Each ablation less the whole system, paired by question."))
        blocks.append(figures.ablation(analysis))
    for _, of_option in groupby(series(analysis.methods), key=lambda one: one.option):
        blocks.append(figures.scaling(analysis, list(of_option)))
    if len(analysis.methods) > 1:
        blocks.append(figures.cost(analysis))
    return blocks


def _told(protocol: Protocol) -> dict[str, str]:
    questions = f"{protocol.questions} questions in turns" if protocol.questions else "all questions"
    drawn = (f"{protocol.users or 'all'} users", questions, f"seed {protocol.seed}")
    told = {
        "task": f"{protocol.task.name} ({protocol.task.kind})",
        "data": protocol.split,
        "users": str(protocol.n_users),
        "questions": str(protocol.n_questions),
        "drawn": ", ".join(drawn),
        "questions come": "one after the other, each learned from" if protocol.online else "independently",
        "methods": ", ".join(protocol.methods),
        **{f"LM ({role})": lm for role, lm in protocol.lms.items()},
        "embedder": protocol.embedder,
        "versions": ", ".join(f"{name} {version}" for name, version in protocol.versions.items()),
        "run": protocol.run_id,
        "started": f"{protocol.started:%Y-%m-%d %H:%M} {protocol.started.tzname() or ''}".strip(),
        "took": f"{protocol.seconds:,.0f} s on the clock",
    }
    return {name: value for name, value in told.items() if value}


def _main_metrics(analyses: Sequence[TaskAnalysis]) -> Table:
    methods = dict.fromkeys(name for analysis in analyses for name in analysis.methods)
    columns = (f"{analysis.task.name} {analysis.main_metric}" for analysis in analyses)
    rows = (
        (
            name,
            *(
                with_interval(analysis.methods[name].pooled[analysis.main_metric]) if name in analysis.methods else ""
                for analysis in analyses
            ),
        )
        for name in methods
    )
    return Table(("method", *columns), tuple(rows), "Each method in the main metric of each task, 95 % intervals")


def _scores(methods: Sequence[MethodResult], metrics: Sequence[str]) -> Table:
    columns = ("method", "questions", "scored", "failed", "unparsed", *metrics)
    of_users = [metric for metric in metrics if any(metric in method.per_user for method in methods)]
    rows = (
        (
            method.name,
            *(str(count) for count in _counts(method)),
            *(with_interval(method.pooled.get(metric)) for metric in metrics),
            *(with_interval(method.per_user.get(metric)) for metric in of_users),
            *(number(method.summary.scored_only.get(metric)) for metric in metrics),
        )
        for method in methods
    )
    beside = (*(f"{metric} per user" for metric in of_users), *(f"{metric} scored only" for metric in metrics))
    return Table((*columns, *beside), tuple(rows), "Scores")


def _counts(method: MethodResult) -> tuple[int, int, int, int]:
    return method.summary.n, method.summary.scored, method.summary.failed, method.summary.unparsed


def _spends(methods: Sequence[MethodResult]) -> Table:
    columns = ("calls", "prompt tokens", "completion tokens", "tokens a question", "seconds", "dollars")
    rows = ((method.name, *_spend(method.spend, method.tokens_per_question)) for method in methods)
    return Table(("method", *columns), tuple(rows), "Spend, preparation of users included; seconds are summed")


def _spend(spend: Spend, tokens_per_question: float) -> tuple[str, ...]:
    counts = (spend.calls, spend.prompt_tokens, spend.completion_tokens)
    return (
        *(f"{count:,}" for count in counts),
        number(tokens_per_question, 0),
        number(spend.seconds, 1),
        "unknown" if spend.dollars is None else number(spend.dollars, 4),
    )


def _errors(methods: Sequence[MethodResult]) -> Table:
    rows = ((method.name, name, str(count)) for method in methods for name, count in method.errors.items())
    columns = ("method", "error", "questions")
    return Table(columns, tuple(rows), "Questions without a score; (form): an answer not in the task's form")


def _label_counts(analysis: TaskAnalysis) -> Table:
    rows = analysis.evaluation.rows_of(analysis.baseline)
    golds = Counter(row.gold for row in rows)
    users = Counter(gold for gold, _ in {(row.gold, row.user_key) for row in rows})
    labels = dict.fromkeys([*analysis.task.labels, *sorted(golds)])
    counted = ((label, str(golds[label]), str(users[label])) for label in labels)
    return Table(("ground truth", "questions", "users"), tuple(counted), "How frequent each answer is")


def _compared(compared: Sequence[Compared], caption: str) -> Table:
    rows = (
        (
            one.method,
            one.metric,
            signed(one.difference),
            probability(one.difference.p_value),
            probability(one.adjusted_p),
            number(one.difference.users_needed, 0),
        )
        for one in compared
    )
    columns = ("method", "metric", "difference", "p", "p (Holm)", "users for 80 % power")
    return Table(columns, tuple(rows), caption)


def _directions(metrics: Iterable[str]) -> str:
    errors = [metric for metric in metrics if metric in ERRORS]
    return f"Of {', '.join(errors)} less is better." if errors else "More is better."
