"""`personaagent demo`: watch a made-up user's history become a persona, and alignment change it."""

import time
from collections.abc import Callable
from dataclasses import asdict
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import typer

from .context import AskingCertified, Json, Spending, echo, grouped, paying, print_result, settings

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from ..data.alignment import Alignment, Spend
    from ..demo import Answers
    from ..home import Home
    from ..journal import OpenRun
    from ..journal.plan import Plan

_BATCH = 2
"""Interactions that are simulated."""


@grouped
def demo(context: typer.Context, asking: AskingCertified, spending: Spending, as_json: Json = False) -> None:
    """Build one made-up user's memory and persona, align it, answer later questions, and show who said what."""
    from ..home import Home
    from ..journal import new_run

    started = time.perf_counter()
    configured = settings(context, asking)
    run = new_run("demo", run_id=spending.run)
    with TemporaryDirectory(prefix="personaagent-") as scratch:
        folder = configured.home / (scratch if spending.dry_run else f"demo-{run.run_id}")
        with (
            Home(configured.model_copy(update={"home": folder})) as home,
            paying(home.store.journal, run, configured, spending) as opened,
        ):
            alignment, answers = _align_made_up_user(home, opened, quiet=as_json or spending.dry_run)
            if spending.dry_run:
                return
            lines = [
                _questions_table(answers),
                _spend_table(alignment, answers),
                f"\nMLflow page: personaagent --home {home.folder} ui",
                f"This home folder: {home.folder}",
                f"\n{answers.reading} ({time.perf_counter() - started:.0f} s in all)",
            ]
            print_result(_fields(alignment, answers, home), lines, as_json=as_json)


def _align_made_up_user(home: "Home", opened: "OpenRun | Plan", *, quiet: bool) -> "tuple[Alignment, Answers]":
    from ..demo import answer_all, made_up_user
    from ..journal import LOSS, REVISION
    from ..optimizers import PersonaAlignment
    from ..personas import live_persona, program
    from ..progress import progress_bar
    from .terminal import decisions_table, diff_text

    made_up = made_up_user(home.folder / "LaMP-2M")
    home.store.ingest({made_up.user_id: made_up.history})
    user = home.store.user(made_up.user_id)
    show: Callable[[object], None] = (lambda _shown: None) if quiet else echo
    show(_heading("1. Memory", f": {len(made_up.history)} past interactions of {made_up.user_id}"))
    first = program(user, next(iter(user.personas.versions()), None) or live_persona(user))
    show(_heading(f"\n2. Persona v{first.persona_version}", ", from what is older than the latest interactions\n"))
    show(first.persona.text)
    optimizer = PersonaAlignment(n=_BATCH, loss_lm=opened.lm(LOSS), revision_lm=opened.lm(REVISION))
    alignment, _ = home.align(user, optimizer, f"demo-{user.key}")
    opened.stopped = alignment.stopped
    aligned = home.agent(user)
    live = _live_kinds(alignment)
    outcome = f"live: {live}" if live else alignment.stopped or "nothing went live"
    show(_heading("\n3. Alignment", f" with the latest {_BATCH} interactions: {outcome}\n"))
    show(decisions_table(alignment.decisions) if alignment.decisions else "no change was proposed")
    show(diff_text(alignment.base, alignment.persona))
    show(_heading("\n4. Later questions", f" under persona v{aligned.persona_version}, one call each"))
    with progress_bar() as progress:
        bar = progress.add_task("answering", total=len(made_up.questions))
        answers = answer_all(aligned, made_up.questions, lambda: progress.advance(bar))
    return alignment, answers


def _heading(title: str, rest: str) -> "Text":
    from rich.text import Text

    return Text.assemble((title, "bold"), rest)


def _live_kinds(alignment: "Alignment") -> str:
    return ", ".join(sorted({decision.change.kind for decision in alignment.decisions if decision.outcome == "live"}))


def _questions_table(answers: "Answers") -> "Table":
    from rich.table import Table

    table = Table("question", "the LM alone", "habits", "memory", "answer", "the user said")
    for answer in answers.answers:
        table.add_row(answer.question, answer.lm, answer.habits, answer.memory, answer.response, answer.gold)
    return table


def _spend_table(alignment: "Alignment", answers: "Answers") -> "Table":
    from rich.table import Table

    table = Table("", "right", "calls", "tokens", "seconds", title="One made-up user")
    asked, live = len(answers.answers), _live_kinds(alignment)
    with_changes = f"with {live}" if live else "as answered (nothing went live)"
    table.add_row("alignment", "", *_spent(alignment.spend))
    table.add_row("answers, the LM alone", f"{answers.right_alone}/{asked}", *_spent(answers.spend))
    table.add_row(f"answers, {with_changes}", f"{answers.right}/{asked}", "the same")
    return table


def _spent(spend: "Spend") -> tuple[str, str, str]:
    return str(spend.calls), str(spend.prompt_tokens + spend.completion_tokens), f"{spend.seconds:.0f}"


def _fields(alignment: "Alignment", answers: "Answers", home: "Home") -> dict[str, object]:
    return {
        "alignment": alignment,
        "answers": [asdict(answer) for answer in answers.answers],
        "right": answers.right,
        "right_alone": answers.right_alone,
        "spend": answers.spend,
        "reading": answers.reading,
        "home": str(home.folder),
        "tracking_uri": home.tracking_uri,
    }
