"""How texts, tables and downloads look in a terminal."""

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, DownloadColumn, TaskID, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

from ..data.call import as_written
from ..data.change import DECISION_COLUMNS
from ..data.persona import persona_diff
from ..progress import Terminal, described, progress_bar

if TYPE_CHECKING:
    from ..data.call import LedgerLine
    from ..data.change import Certificate, ChangeKind, Decision, Evidence
    from ..data.persona import Persona
    from ..evaluation.summary import Evaluation
    from ..journal.plan import Plan

_WIDE = 160
"""Columns where their number is not known: a table in a file or a pipe is not cut."""
_STYLES = {"+": "green", "-": "red"}


out = Terminal(highlight=False, markup=False, emoji=False, soft_wrap=True, width=None if sys.stdout.isatty() else _WIDE)


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


@contextmanager
def bytes_bar() -> Generator[Callable[[str, int, int | None], None]]:
    """Show downloads: what is yielded is told a file's name, the bytes that have come, and the bytes that will."""
    with progress_bar(described(), BarColumn(), DownloadColumn(), TransferSpeedColumn()) as progress:
        bars: dict[str, TaskID] = {}

        def show(name: str, done: int, total: int | None) -> None:
            if name not in bars:
                bars[name] = progress.add_task(name, total=total)
            progress.update(bars[name], completed=done, total=total)

        yield show
