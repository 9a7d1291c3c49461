"""What a report says, section by section; a section without data is left out."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby

from ...data.memory.embedder import Embedder
from ..intervals import Estimate
from ..metrics import BINS, CALIBRATION_ERROR, ERRORS, LEAST_PROBABILITY, LOG_LOSS
from ..names import ablations, is_variant, series
from ..record import EvaluationProtocol
from . import figures
from .analysis import Compared, MethodResult, TaskAnalysis
from .document import Block, Report, Table
from .personas import persona_blocks
from .questions import Prompts, question_blocks

_ALL_TASKS = "All tasks"
_RULES = (
    "Official rules over all questions: no answer counts as a wrong answer. Brackets: 95 % intervals over users. "
    "Per user: the metric of each user, averaged. Scored only: over the questions with an answer in the form of "
    "the task. "
)
_CALIBRATION = (
    f"{LOG_LOSS} and {CALIBRATION_ERROR} are ours, of methods that say how probable each answer is: the mean of "
    f"-log p(ground truth), with p at least {LEAST_PROBABILITY}; and how far the confidence in the most probable "
    f"answer is from how often it is right, over {BINS} bins. A question without an answer counts as certain and wrong."
)
_UNKNOWN = "-"
_MOST_NAMES = 4
_ROOM = 1_000_000
"""Bytes of a page for questions; a third of it for personas. With the figures it stays below 2 MB."""


def report_of(
    analyses: Sequence[TaskAnalysis], embedder: Embedder, *, texts: bool, prompts: Prompts | None = None
) -> Report:
    """Return the report. The embedder places personas on a map.

    With `texts`, personas and questions themselves are in it, as many as there is room for.
    """
    room = _ROOM // len(analyses) if texts else 0

    def by_task(blocks_of: Callable[[TaskAnalysis], list[Block]]) -> dict[str, list[Block]]:
        parts = {analysis.task.name: blocks_of(analysis) for analysis in analyses}
        return {task: blocks for task, blocks in parts.items() if blocks}

    overview: dict[str, list[Block]] = {_ALL_TASKS: [_main_metrics(analyses)]} if len(analyses) > 1 else {}
    sections = {
        "Findings": by_task(lambda analysis: [*findings(analysis)]),
        "What was run": {_ALL_TASKS if len(analyses) > 1 else analyses[0].task.name: _what_was_run(analyses)},
        "Results": overview | by_task(_results),
        "Differences": by_task(_differences),
        "Effects, ablations, scaling and cost": by_task(_drawings),
        "Personas": by_task(partial(persona_blocks, embedder=embedder, room=room // 3)),
    }
    if texts:
        sections["Questions"] = by_task(partial(question_blocks, prompts=prompts or {}, room=room))
    tasks = ", ".join(analysis.task.name for analysis in analyses)
    return Report(f"Evaluation of {tasks}", {title: parts for title, parts in sections.items() if parts})


def findings(analysis: TaskAnalysis) -> list[str]:
    """Say what was run, what won over what, and what is not certain, in a sentence each."""
    return [_ran(analysis), _won(analysis), _uncertain(analysis)]


def _ran(analysis: TaskAnalysis) -> str:
    protocol, names = analysis.evaluation.protocol, _named([*analysis.methods])
    lm = protocol.lms.get("agent")
    methods = f"{len(analysis.methods)} methods ({names})" if len(analysis.methods) > 1 else names
    users = "1 user" if protocol.n_users == 1 else f"{protocol.n_users:,} users"
    with_lm = f" with {lm}" if lm else ""
    return f"{methods} answered {protocol.n_questions:,} questions of {users} ({protocol.split}){with_lm}."


def _won(analysis: TaskAnalysis) -> str:
    metric, baseline = analysis.main_metric, analysis.baseline
    sign = 1 if metric in ERRORS else -1
    compared = sorted(analysis.compared_in_main_metric, key=lambda comparison: sign * comparison.difference.value)
    if not compared:
        return f"{baseline} came to {metric} {_with_interval(analysis.methods[baseline].pooled[metric])}."
    if clear := [comparison for comparison in compared if comparison.is_significant]:
        first, *others = clear
        better = sum(comparison.is_better for comparison in others)
        more = [f"{better} more do better"] * (better > 0) + [f"{len(others) - better} worse"] * (better < len(others))
        return _clear(first, baseline).removesuffix(".") + (f"; {', '.join(more)}." if more else ".")
    widest = max(compared, key=lambda comparison: abs(comparison.difference.value))
    return (
        f"No method differs from {baseline} in {metric} beyond noise after Holm's correction; the largest difference "
        f"is that of {widest.method}, {_signed(widest.difference)}."
    )


def _uncertain(analysis: TaskAnalysis) -> str:
    users = analysis.evaluation.protocol.n_users
    unclear = [found.method for found in analysis.compared_in_main_metric if not found.is_significant]
    unanswered = sum(row.status != "scored" for row in analysis.evaluation.rows)
    doubts: list[str] = []
    if unclear:
        differ = "differs" if len(unclear) == 1 else "differ"
        doubts.append(f"whether {_named(unclear)} {differ} from {analysis.baseline} at all")
    if users == 1:
        doubts.append("how any other user would fare: with 1 user there are no intervals")
    else:
        doubts.append(f"how users unlike these {users} would fare")
    if unanswered:
        doubts.append(f"what the {unanswered} answers that failed, or were not in the task's form, would have been")
    return f"Not certain: {'; '.join(doubts)}."


def _named(names: Sequence[str]) -> str:
    others = len(names) - _MOST_NAMES
    return f"{', '.join(names[:_MOST_NAMES])} and {others} more" if others > 0 else ", ".join(names)


def reading(analysis: TaskAnalysis) -> tuple[str, ...]:
    """Say in plain sentences what the comparison with the baseline shows in the main metric, and what it does not."""
    baseline, users = analysis.baseline, analysis.evaluation.protocol.n_users
    with_users = "with 1 user" if users == 1 else f"with {users} users"
    compared = analysis.compared_in_main_metric
    unclear = [comparison for comparison in compared if not comparison.is_significant]
    sentences = [_clear(comparison, baseline) for comparison in compared if comparison.is_significant]
    if not sentences:
        sentences.append(f"No method differs from {baseline} in {analysis.main_metric} beyond noise {with_users}.")
    elif unclear:
        others = "the other method does" if len(unclear) == 1 else f"the other {len(unclear)} methods do"
        sentences.append(f"Beyond that, {others} not differ from {baseline} beyond noise {with_users}.")
    needed = [
        f"{comparison.method} {comparison.difference.users_needed:,} ({comparison.difference.value:+.3f})"
        for comparison in unclear
        if comparison.difference.users_needed is not None
    ]
    if needed:
        sentences.append(f"Users needed to see the observed differences with 80 % power: {', '.join(needed)}.")
    if equal := [comparison.method for comparison in unclear if comparison.difference.value == 0]:
        sentences.append(f"No difference at all was observed of {', '.join(equal)}.")
    return tuple(sentences)


def _clear(compared: Compared, baseline: str) -> str:
    verdict = "better" if compared.is_better else "worse"
    return (
        f"{compared.method} does {verdict} than {baseline}: {compared.metric} {_signed(compared.difference)}, "
        f"p = {_probability(compared.adjusted_p)} after Holm's correction.".replace("= <", "<")
    )


def _what_was_run(analyses: Sequence[TaskAnalysis]) -> list[Block]:
    """List what the tasks have in common, then what each has of its own."""
    protocols = [analysis.evaluation.protocol for analysis in analyses]
    of_tasks = [_protocol(protocol) for protocol in protocols]
    names = list(dict.fromkeys(name for of_task in of_tasks for name in of_task))
    own = [name for name in names if len({of_task.get(name, "") for of_task in of_tasks}) > 1]
    blocks: list[Block] = [Table(("", ""), tuple((name, of_tasks[0][name]) for name in of_tasks[0] if name not in own))]
    if own:
        blocks.append(_table({name: of_task.get(name, "") for name in own} for of_task in of_tasks))
    return [*blocks, *dict.fromkeys(note for protocol in protocols for note in protocol.notes)]


def _protocol(protocol: EvaluationProtocol) -> dict[str, str]:
    questions = f"{protocol.questions} questions in turns" if protocol.questions else "all questions"
    lines = {
        "task": f"{protocol.task.name} ({protocol.task.kind})",
        "data": protocol.split,
        "users": str(protocol.n_users),
        "questions": str(protocol.n_questions),
        "drawn": f"{protocol.users or 'all'} users, {questions}, seed {protocol.seed}",
        "questions come": "one after the other, each learned from" if protocol.online else "independently",
        "methods": ", ".join(protocol.methods),
        **{f"LM ({role})": lm for role, lm in protocol.lms.items()},
        "embedder": protocol.embedder,
        "versions": ", ".join(f"{name} {version}" for name, version in protocol.versions.items()),
        "run": protocol.run_id,
        "started": f"{protocol.started:%Y-%m-%d %H:%M} {protocol.started.tzname() or ''}".strip(),
        "took": f"{protocol.seconds:,.0f} s on the clock",
    }
    return {name: value for name, value in lines.items() if value}


def _main_metrics(analyses: Sequence[TaskAnalysis]) -> Table:
    def cell(analysis: TaskAnalysis, method: str) -> str:
        result = analysis.methods.get(method)
        return _with_interval(result.pooled[analysis.main_metric]) if result else ""

    methods = dict.fromkeys(name for analysis in analyses for name in analysis.methods)
    return _table(
        (
            {"method": method, **{f"{of.task.name} {of.main_metric}": cell(of, method) for of in analyses}}
            for method in methods
        ),
        "Each method in the main metric of each task, 95 % intervals",
    )


def _results(analysis: TaskAnalysis) -> list[Block]:
    """Show what each method came to and what it spent, why questions have no score, and how frequent labels are."""
    methods = list(analysis.methods.values())
    metrics = list(dict.fromkeys(metric for method in methods for metric in method.pooled))
    errors = [metric for metric in metrics if metric in ERRORS]
    better = f"Of {', '.join(errors)} less is better." if errors else "More is better."
    blocks: list[Block] = [*_scores(methods, metrics), _RULES + better]
    if LOG_LOSS in metrics:
        blocks.append(_CALIBRATION)
    if len(methods) > 1:
        blocks.append(figures.methods(analysis))
    blocks.append(_spends(methods))
    if any(method.errors for method in methods):
        blocks.append(_errors(methods))
    if analysis.task.kind != "text":
        blocks.append(_label_counts(analysis))
    return blocks


def _differences(analysis: TaskAnalysis) -> list[Block]:
    """Say what the comparison with the baseline means, and show it."""
    if not analysis.compared:
        return []
    caption = f"Each method less {analysis.baseline}, paired by question."
    return [*reading(analysis), _compared(analysis.compared, caption)]


def _drawings(analysis: TaskAnalysis) -> list[Block]:
    """Draw effects per user, ablations, scaling and cost."""
    blocks: list[Block] = []
    if analysis.evaluation.protocol.n_users > 1:
        blocks += (figures.effect_per_user(analysis, name) for name in analysis.effects if not is_variant(name))
    if ablations(analysis.methods):
        blocks.append(_compared(analysis.ablated, "Each ablation less the whole system, paired by question."))
        blocks.append(figures.ablation(analysis))
    for _, of_option in groupby(series(analysis.methods), key=lambda found: found.option):
        blocks.append(figures.scaling(analysis, list(of_option)))
    if len(analysis.methods) > 1:
        blocks.append(figures.cost(analysis))
    return blocks


def _table(rows: Iterable[Mapping[str, str]], caption: str = "") -> Table:
    """Return a table of at least one row; every row has the same columns."""
    rows = list(rows)
    return Table(tuple(rows[0]), tuple(tuple(row.values()) for row in rows), caption)


def _scores(methods: Sequence[MethodResult], metrics: Sequence[str]) -> tuple[Table, Table]:
    of_users = [metric for metric in metrics if any(metric in method.per_user for method in methods)]
    over_all = (
        {
            "method": method.name,
            "questions": str(method.summary.n),
            **{count: str(getattr(method.summary, count)) for count in ("scored", "failed", "unparsed")},
            **{metric: _with_interval(method.pooled.get(metric)) for metric in metrics},
        }
        for method in methods
    )
    beside = (
        {
            "method": method.name,
            **{f"{metric} per user": _with_interval(method.per_user.get(metric)) for metric in of_users},
            **{f"{metric} scored only": _number(method.summary.scored_only.get(metric)) for metric in metrics},
        }
        for method in methods
    )
    return _table(over_all, "Scores"), _table(beside, "Scores per user, and of scored questions only")


def _spends(methods: Sequence[MethodResult]) -> Table:
    rows = (
        {
            "method": method.name,
            "calls": f"{spend.calls:,}",
            "prompt tokens": f"{spend.prompt_tokens:,}",
            "completion tokens": f"{spend.completion_tokens:,}",
            "tokens a question": _number(method.tokens_per_question, 0),
            "seconds": _number(spend.seconds, 1),
            "dollars": "unknown" if spend.dollars is None else _number(spend.dollars, 4),
        }
        for method in methods
        for spend in [method.summary.spend]
    )
    return _table(rows, "Spend, preparation of users included; seconds are summed")


def _errors(methods: Sequence[MethodResult]) -> Table:
    rows = (
        {"method": method.name, "error": name, "questions": str(count)}
        for method in methods
        for name, count in method.errors.items()
    )
    return _table(rows, "Questions without a score; (form): an answer not in the task's form")


def _label_counts(analysis: TaskAnalysis) -> Table:
    rows = analysis.evaluation.rows_of(analysis.baseline)
    golds = Counter(row.gold or "" for row in rows)
    users = Counter(gold for gold, _ in {(row.gold or "", row.user_key) for row in rows})
    counted = (
        {"ground truth": label, "questions": str(golds[label]), "users": str(users[label])}
        for label in dict.fromkeys([*analysis.task.labels, *sorted(golds)])
    )
    return _table(counted, "How frequent each answer is")


def _compared(compared: Iterable[Compared], caption: str) -> Table:
    rows = (
        {
            "method": comparison.method,
            "metric": comparison.metric,
            "difference": _signed(comparison.difference),
            "p": _probability(comparison.difference.p_value),
            "p (Holm)": _probability(comparison.adjusted_p),
            "users for 80 % power": _number(comparison.difference.users_needed, 0),
        }
        for comparison in compared
    )
    return _table(rows, caption)


def _number(value: float | None, digits: int = 3) -> str:
    return _UNKNOWN if value is None else f"{value:,.{digits}f}"


def _with_interval(found: Estimate | None, form: str = ",.3f") -> str:
    if found is None:
        return _UNKNOWN
    interval = "" if found.low is None or found.high is None else f" [{found.low:{form}}, {found.high:{form}}]"
    return f"{found.value:{form}}{interval}"


_signed = partial(_with_interval, form="+.3f")


def _probability(p: float | None) -> str:
    if p is None:
        return _UNKNOWN
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
