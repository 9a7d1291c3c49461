"""`personaagent demo`: watch a made-up user's history become a persona, and alignment change it."""

import time
from dataclasses import asdict
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import typer

from .context import AskingCertified, Json, Spending, answering, err, out, print_json, settings_asking
from .grouped import grouped
from .show import decisions_table, diff_text, progress_bar, progress_of_alignment

if TYPE_CHECKING:
    from rich.table import Table

    from ..data.alignment import Alignment, Spend
    from ..demo import Answers
    from ..home import Home
    from ..journal import OpenRun
    from ..journal.plan import Plan
    from ..settings import Settings

_BATCH = 2
"""Interactions that are simulated."""


@grouped
def demo(context: typer.Context, asking: AskingCertified, spending: Spending, as_json: Json = False) -> None:
    """Build one made-up user's memory and persona, align it, answer later questions, and show who said what."""
    from ..home import Home
    from ..journal import new_run

    started = time.perf_counter()
    configured = settings_asking(context, asking)
    _fetch_what_is_missing(configured.lm, configured.embedder)
    run = new_run("demo", run_id=spending.run)
    with (
        TemporaryDirectory(prefix="personaagent-") as scratch,
        Home(_in_folder(configured, scratch if spending.dry_run else f"demo-{run.run_id}")) as home,
        answering(home.store.journal, run, configured, spending) as paying,
    ):
        alignment, answers = _align_made_up_user(home, paying, quiet=as_json or spending.dry_run)
        if spending.dry_run:
            return
        if as_json:
            print_json(_as_json(alignment, answers, home))
        else:
            out.print(_questions_table(answers))
            out.print(_table(alignment, answers))
            out.print(f"\nMLflow page: mlflow ui --backend-store-uri {home.tracking_uri}", markup=False)
            out.print(f"This home folder: {home.folder}", markup=False)
            out.print(f"\n{answers.reading} ({time.perf_counter() - started:.0f} s in all)")


def _align_made_up_user(home: "Home", paying: "OpenRun | Plan", quiet: bool) -> "tuple[Alignment, Answers]":
    from ..demo import answer_all, made_up_user
    from ..journal import LOSS, REVISION
    from ..optimizers import PersonaAlignment
    from ..personas import live_persona, program

    person = made_up_user(home.folder / "LaMP-2M")
    home.store.ingest({person.user_id: person.history})
    user = home.store.user(person.user_id)
    _say(quiet, f"[bold]1. Memory[/bold]: {len(person.history)} past interactions of {person.user_id}")
    first = program(user, next(iter(user.personas.versions()), None) or live_persona(user))
    _say(
        quiet, f"\n[bold]2. Persona v{first.persona_version}[/bold], from what is older than the latest interactions\n"
    )
    _say(quiet, first.persona.text, markup=False)
    with progress_of_alignment(err, "evidence", _BATCH) as listener:
        optimizer = PersonaAlignment(
            n=_BATCH, loss_lm=paying.lm(LOSS), revision_lm=paying.lm(REVISION), listener=listener
        )
        alignment, _ = home.align(user, optimizer, f"demo-{user.key}")
        paying.stopped = alignment.stopped
    aligned = home.agent(user)
    _say(quiet, f"\n[bold]3. Alignment[/bold] with the latest {_BATCH} interactions: {_outcome(alignment)}\n")
    if not quiet:
        out.print(decisions_table(alignment.decisions) if alignment.decisions else "no change was proposed")
        out.print(diff_text(alignment.base, alignment.persona))
    _say(quiet, f"\n[bold]4. Later questions[/bold] under persona v{aligned.persona_version}, one call each")
    with progress_bar(err) as progress:
        bar = progress.add_task("answering", total=len(person.questions))
        answers = answer_all(aligned, person.questions, lambda: progress.advance(bar))
    return alignment, answers


def _live_kinds(alignment: "Alignment") -> list[str]:
    return sorted({one.change.kind for one in alignment.decisions if one.outcome == "live"})


def _outcome(alignment: "Alignment") -> str:
    live = _live_kinds(alignment)
    return f"live: {', '.join(live)}" if live else alignment.stopped or "nothing went live"


def _in_folder(configured: "Settings", folder: str) -> "Settings":
    return configured.model_copy(update={"home": configured.home / folder})


def _say(quiet: bool, text: str, markup: bool = True) -> None:
    if not quiet:
        out.print(text, markup=markup)


def _fetch_what_is_missing(lm: str, embedder: str) -> None:
    from ..lms.models import missing_models
    from .models import fetch_with_progress

    for model in missing_models(lm, embedder):
        fetch_with_progress(model)


def _questions_table(answers: "Answers") -> "Table":
    from rich.table import Table

    table = Table("question", "the LM alone", "habits", "memory", "answer", "the user said")
    for one in answers.answers:
        table.add_row(one.question, one.lm, one.habits, one.memory, one.response, one.gold)
    return table


def _table(alignment: "Alignment", answers: "Answers") -> "Table":
    from rich.table import Table

    table = Table("", "right", "calls", "tokens", "seconds", title="One made-up user")
    asked, live = len(answers.answers), _live_kinds(alignment)
    with_changes = f"with {', '.join(live)}" if live else "as answered (nothing went live)"
    table.add_row("alignment", "", *_spent(alignment.spend))
    table.add_row("answers, the LM alone", f"{answers.right_alone}/{asked}", *_spent(answers.spend))
    table.add_row(f"answers, {with_changes}", f"{answers.right}/{asked}", "the same")
    return table


def _spent(spend: "Spend") -> tuple[str, str, str]:
    return str(spend.calls), str(spend.prompt_tokens + spend.completion_tokens), f"{spend.seconds:.0f}"


def _as_json(alignment: "Alignment", answers: "Answers", home: "Home") -> dict[str, object]:
    return {
        "alignment": alignment.model_dump(mode="json"),
        "answers": [asdict(one) for one in answers.answers],
        "right": answers.right,
        "right_alone": answers.right_alone,
        "spend": answers.spend.model_dump(),
        "reading": answers.reading,
        "home": str(home.folder),
        "tracking_uri": home.tracking_uri,
    }
