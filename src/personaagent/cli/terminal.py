"""How texts, tables and progress look in a terminal."""

import re
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from ..data.call import as_written
from ..data.change import DECISION_COLUMNS
from ..data.persona import persona_diff

if TYPE_CHECKING:
    from ..data.call import LedgerLine
    from ..data.change import Certificate, ChangeKind, Decision, Evidence
    from ..data.persona import Persona
    from ..evaluation.summary import Evaluation
    from ..journal.plan import Plan
    from ..optimizers.events import AlignmentEvent

_WIDE = 160
"""Columns where their number is not known: a table in a file or a pipe is not cut."""
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""All but tabs and line breaks, and what turns the direction of writing round."""
_STYLES = {"+": "green", "-": "red"}


class Terminal(Console):
    """A console on which text cannot act: users and LMs may have written it, and terminals obey control characters."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield what is to be shown, without control characters in it."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else _CONTROLS.sub("", text), style, control)


out = Terminal(highlight=False, markup=False, emoji=False, soft_wrap=True, width=None if sys.stdout.isatty() else _WIDE)
err = Terminal(highlight=False, markup=False, emoji=False, stderr=True)


def diff_text(old: "Persona", new: "Persona") -> Text:
    """Return the change from one persona to another, added lines green and removed lines red."""
    text = Text()
    for line in persona_diff(old, new).splitlines()[3:]:
        text.append(line + "\n", style=_STYLES.get(line[:1], "dim"))
    return text or Text("(the persona did not change)", style="dim")


def evaluation_table(evaluation: "Evaluation") -> Table:
    """Return one line for each method: its counts, its metrics by the official rules, and what it spent."""
    table = Table(*evaluation.columns, title=evaluation.title)
    for cells in evaluation.cells:
        table.add_row(*cells)
    return table


def plan_table(plan: "Plan") -> Table:
    """Return one line for each role: its calls and their worst case."""
    table = Table("role", "calls", "tokens at most", "dollars at most", title="Dry run: nothing was called")
    for role, cost in (*plan.costs.items(), ("in all", plan.total)):
        table.add_row(role, f"{cost.calls:,}", f"{cost.tokens:,}", _dollars(cost.dollars))
    return table


def decisions_table(decisions: "Sequence[Decision]") -> Table:
    """Return one line for each change of a persona: what it is, what became of it, why, and on what evidence."""
    table = Table(*DECISION_COLUMNS)
    for decision in decisions:
        table.add_row(*decision.cells)
    return table


def certification_table(certificate: "Certificate", tested: "Mapping[ChangeKind, Evidence]") -> Table:
    """Return one line for each kind of change that was tested, and whether it is certified."""
    title = f"{certificate.task}, {certificate.form}, {as_written(certificate.lm)}: {certificate.users} users"
    table = Table("kind", "users", "mean difference", "wealth", "certified", title=title)
    for kind, evidence in tested.items():
        certified = "yes" if kind in certificate.kinds else "no"
        table.add_row(kind, str(evidence.n), f"{evidence.mean:+.3f}", f"{evidence.wealth:.2f}", certified)
    return table


def ledger_table(lines: "Sequence[LedgerLine]") -> Table:
    """Return one line for each run, user, role and model."""
    table = Table(
        "run", "user", "role", "model", "attempts", "failures", "tokens in", "tokens out", "dollars", "seconds"
    )
    for line in lines:
        counts = (line.attempts, line.failures, line.prompt_tokens, line.completion_tokens)
        names = (line.run_id, line.user_key, line.role, line.model)
        table.add_row(*names, *(f"{count:,}" for count in counts), _dollars(line.dollars), f"{line.seconds:.1f}")
    return table


def _dollars(amount: float | None) -> str:
    """Return an amount as it is printed; one that is not known is not zero."""
    return "unknown" if amount is None else f"{amount:.4f}"


def progress_bar() -> Progress:
    """Return a progress bar for long work, drawn on standard error if that is a terminal."""
    columns = (SpinnerColumn(), _text(), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return _progress(*columns)


@contextmanager
def bytes_bar() -> Generator[Callable[[str, int, int | None], None]]:
    """Show downloads: what is yielded is told a file's name, the bytes that have come, and the bytes that will."""
    with _progress(_text(), BarColumn(), DownloadColumn(), TransferSpeedColumn()) as progress:
        bars: dict[str, TaskID] = {}

        def show(name: str, done: int, total: int | None) -> None:
            if name not in bars:
                bars[name] = progress.add_task(name, total=total)
            progress.update(bars[name], completed=done, total=total)

        yield show


@contextmanager
def progress_of_alignment(
    mode: Literal["evidence", "paper"], n: int, iterations: int = 1, users: int = 1
) -> "Generator[Callable[[AlignmentEvent], None]]":
    """Show the steps of alignments: n simulations and the end; in the paper, n critiques too, in each iteration."""
    steps = 2 * n + 1 if mode == "paper" else n + 1
    with progress_bar() as progress:
        bar = progress.add_task("simulating", total=users * iterations * steps)

        def advance(event: "AlignmentEvent") -> None:
            progress.update(bar, advance=1, description=type(event).__name__)

        yield advance


def _progress(*columns: ProgressColumn) -> Progress:
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)


def _text() -> TextColumn:
    return TextColumn("{task.description}")
