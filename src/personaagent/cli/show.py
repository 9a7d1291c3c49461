"""How personas, diffs and progress look in a terminal."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.text import Text

from ..data.call import as_written

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
    from rich.table import Table

    from ..data.call import LedgerLine
    from ..data.change import Certificate, Change, ChangeKind, Decision, Evidence
    from ..data.persona import Persona
    from ..evaluation.summary import Evaluation
    from ..journal.plan import Plan
    from ..optimizers.events import AlignmentEvent

_STYLES = {"+": "green", "-": "red"}


def diff_text(old: "Persona", new: "Persona") -> Text:
    """Return the change from one persona to another, added lines green and removed lines red."""
    from ..data.persona import persona_diff

    text = Text()
    for line in persona_diff(old, new).splitlines()[3:]:
        text.append(line + "\n", style=_STYLES.get(line[:1], "dim"))
    return text or Text("(the persona did not change)", style="dim")


def progress_bar(console: Console) -> "Progress":
    """Return a progress bar for long work, drawn on `console` if that is a terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def evaluation_table(evaluation: "Evaluation") -> "Table":
    """Return one line for each method: its counts, its metrics by the official rules, and what it spent."""
    from rich.table import Table

    rows = {name: summary.as_json() for name, summary in evaluation.methods.items()}
    metrics = list(dict.fromkeys(metric for summary in evaluation.methods.values() for metric in summary.official))
    columns = ["scored", "failed", "unparsed", *metrics, "calls", "prompt_tokens", "completion_tokens", "seconds"]
    table = Table("method", *columns, title=f"{evaluation.task.name} (official rules)")
    for name, row in rows.items():
        table.add_row(name, *(_cell(row.get(column)) for column in columns))
    return table


def plan_table(plan: "Plan") -> "Table":
    """Return one line for each role: its calls and their worst case."""
    from rich.table import Table

    table = Table("role", "calls", "tokens at most", "dollars at most", title="Dry run: nothing was called")
    for role, cost in (*plan.costs.items(), ("in all", plan.total)):
        table.add_row(role, f"{cost.calls:,}", f"{cost.tokens:,}", dollars(cost.dollars))
    return table


def decisions_table(decisions: "Sequence[Decision]") -> "Table":
    """Return one line for each change of a persona: what it is, what became of it, why, and on what evidence."""
    from rich.table import Table

    table = Table("kind", "change", "outcome", "reason", "n", "mean", "wealth")
    for one in decisions:
        evidence = (str(one.evidence.n), f"{one.evidence.mean:+.3f}", f"{one.evidence.wealth:.2f}")
        table.add_row(one.change.kind, Text(_change(one.change)), one.outcome, one.reason, *evidence)
    return table


def _change(change: "Change") -> str:
    if change.weights is not None:
        return f"answer weights: LM {change.weights.a:g}, habits {change.weights.b:g}, memory {change.weights.c:g}"
    said = change.line.text if change.line else f"line {change.replaces}"
    return f"{change.action}: {said}"


def certification_table(certificate: "Certificate", tested: "Mapping[ChangeKind, Evidence]") -> "Table":
    """Return one line for each kind of change that was tested, and whether it is certified."""
    from rich.table import Table

    title = f"{certificate.task}, {certificate.form}, {as_written(certificate.lm)}: {certificate.users} users"
    table = Table("kind", "users", "mean difference", "wealth", "certified", title=title)
    for kind, evidence in tested.items():
        said = "yes" if kind in certificate.kinds else "no"
        table.add_row(kind, str(evidence.n), f"{evidence.mean:+.3f}", f"{evidence.wealth:.2f}", said)
    return table


def ledger_table(lines: "Sequence[LedgerLine]") -> "Table":
    """Return one line for each run, user, role and model."""
    from rich.table import Table

    table = Table(
        "run", "user", "role", "model", "attempts", "failures", "tokens in", "tokens out", "dollars", "seconds"
    )
    for line in lines:
        counts = (line.attempts, line.failures, line.prompt_tokens, line.completion_tokens)
        names = (line.run_id, line.user_key, line.role, line.model)
        table.add_row(*names, *(f"{count:,}" for count in counts), dollars(line.dollars), f"{line.seconds:.1f}")
    return table


def dollars(amount: float | None) -> str:
    """Return an amount as it is printed; one that is not known is not zero."""
    return "unknown" if amount is None else f"{amount:.4f}"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


@contextmanager
def bytes_bar(console: Console) -> Generator[Callable[[str, int, int | None], None]]:
    """Show downloads: what is yielded is told a file's name, the bytes that have come, and the bytes that will."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bars: dict[str, TaskID] = {}

        def show(name: str, done: int, total: int | None) -> None:
            if name not in bars:
                bars[name] = progress.add_task(name, total=total)
            progress.update(bars[name], completed=done, total=total)

        yield show


@contextmanager
def progress_of_alignment(
    console: Console, mode: Literal["evidence", "paper"], n: int, iterations: int = 1, users: int = 1
) -> "Generator[Callable[[AlignmentEvent], None]]":
    """Show the steps of alignments: n simulations and the end; in the paper, n critiques too, in each iteration."""
    steps = 2 * n + 1 if mode == "paper" else n + 1
    with progress_bar(console) as progress:
        bar = progress.add_task("simulating", total=users * iterations * steps)

        def advance(event: "AlignmentEvent") -> None:
            progress.update(bar, advance=1, description=type(event).__name__)

        yield advance
