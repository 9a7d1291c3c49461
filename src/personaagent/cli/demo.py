"""`personaagent demo`: watch a made-up user's history become a persona, and alignment change it."""

import time
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import typer

from .context import Asking, Json, Spending, answering, err, out, print_json, settings_asking
from .grouped import grouped
from .show import diff_text, progress_bar, progress_of_alignment

if TYPE_CHECKING:
    from rich.table import Table

    from ..data.alignment import Alignment
    from ..demo import Answers, Comparison
    from ..home import Home
    from ..runs import OpenRun
    from ..runs.planning import Plan
    from ..settings import Settings


@grouped
def demo(context: typer.Context, asking: Asking, spending: Spending, as_json: Json = False) -> None:
    """Build one made-up user's memory and persona, answer, align, answer again, and compare."""
    from ..home import Home
    from ..runs import new_run

    started = time.perf_counter()
    configured = settings_asking(context, asking)
    _fetch_what_is_missing(configured.lm, configured.embedder)
    run = new_run("demo", run_id=spending.run)
    with (
        TemporaryDirectory(prefix="personaagent-") as scratch,
        Home(_in_folder(configured, scratch if spending.dry_run else f"demo-{run.run_id}")) as home,
        answering(home.store.journal, run, configured, spending) as paying,
    ):
        before, alignment, after, comparison = _align_made_up_user(home, paying, quiet=as_json or spending.dry_run)
        if spending.dry_run:
            return
        if as_json:
            print_json(_as_json(before, alignment, after, comparison, home))
        else:
            out.print(_table(before, alignment, after))
            out.print(f"\nMLflow page: mlflow ui --backend-store-uri {home.tracking_uri}", markup=False)
            out.print(f"This home folder: {home.folder}", markup=False)
            out.print(f"\n{comparison.reading} ({time.perf_counter() - started:.0f} s in all)")


def _align_made_up_user(
    home: "Home", paying: "OpenRun | Plan", quiet: bool
) -> "tuple[Answers, Alignment, Answers, Comparison]":
    from ..demo import answer_all, compare, made_up_user
    from ..optimizers import PersonaAlignment
    from ..personas import live_persona, program
    from ..runs import LOSS, REVISION

    person = made_up_user(home.folder / "LaMP-2M")
    home.store.ingest({person.user_id: person.history})
    user = home.store.user(person.user_id)
    _say(quiet, f"[bold]1. Memory[/bold]: {len(person.history)} past interactions of {person.user_id}")
    agent = program(user, next(iter(user.personas.versions()), None) or live_persona(user))
    _say(quiet, f"\n[bold]2. Persona v{agent.persona_version}[/bold], from what is older than the first batch\n")
    _say(quiet, agent.persona.text, markup=False)
    with progress_bar(err) as progress:
        bar = progress.add_task("answering under v1", total=len(person.questions))
        before = answer_all(agent, person.questions, lambda: progress.advance(bar))
    with progress_of_alignment(err, n=3, iterations=1) as listener:
        optimizer = PersonaAlignment(n=3, loss_lm=paying.lm(LOSS), revision_lm=paying.lm(REVISION), listener=listener)
        alignment, _ = home.align(user, optimizer, f"demo-{user.key}")
        paying.stopped = alignment.stopped
    _say(quiet, "\n[bold]3. Textual losses[/bold] of the latest 3 interactions")
    for loss in alignment.losses:
        _say(quiet, f"\nsaid {loss.response!r}, the user said {loss.ground_truth!r}: {loss.critique}", markup=False)
    aligned = home.agent(user)
    reason = alignment.iterations[-1].reason if alignment.iterations else alignment.stopped
    _say(quiet, f"\n[bold]4. Persona v{aligned.persona_version}[/bold]: {reason}\n")
    if not quiet:
        out.print(diff_text(alignment.base, alignment.persona))
    with progress_bar(err) as progress:
        bar = progress.add_task("answering again", total=len(person.questions))
        after = answer_all(aligned, person.questions, lambda: progress.advance(bar))
    return before, alignment, after, compare(before, after)


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


def _table(before: "Answers", alignment: "Alignment", after: "Answers") -> "Table":
    from rich.table import Table

    table = Table("", "right", "calls", "tokens", "seconds", title="One made-up user, 6 later questions")
    rows = ((f"persona v{before.version}", before), ("alignment", alignment), (f"persona v{after.version}", after))
    for name, part in rows:
        answers: tuple[bool, ...] = getattr(part, "right", ())
        right = f"{sum(answers)}/{len(answers)}" if answers else ""
        spend = part.spend
        tokens = spend.prompt_tokens + spend.completion_tokens
        table.add_row(name, right, str(spend.calls), str(tokens), f"{spend.seconds:.0f}")
    return table


def _as_json(
    before: "Answers", alignment: "Alignment", after: "Answers", comparison: "Comparison", home: "Home"
) -> dict[str, object]:
    return {
        "before": {"right": sum(before.right), "responses": before.responses, "spend": before.spend.model_dump()},
        "alignment": alignment.model_dump(mode="json"),
        "after": {"right": sum(after.right), "responses": after.responses, "spend": after.spend.model_dump()},
        "golds": before.golds,
        "reading": comparison.reading,
        "home": str(home.folder),
        "tracking_uri": home.tracking_uri,
    }
