"""`personaagent align`: rewrite users' personas from the textual loss of their latest interactions."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .context import Asking, Json, Spending, answering, dry_or_real, err, opened, out, print_json, settings_asking
from .grouped import grouped
from .show import diff_text, progress_of_alignment

if TYPE_CHECKING:
    from pydantic import JsonValue

    from ..data.alignment import Alignment
    from ..data.persona import PersonaVersion
    from ..optimizers import PersonaAlignment
    from ..optimizers.events import Listener
    from ..runs import OpenRun
    from ..runs.planning import Plan


@dataclass(frozen=True)
class Loop:
    """The parameters of the paper's algorithm."""

    n: Annotated[int, typer.Option(help="How many of the latest interactions to simulate.", min=1)] = 3
    iterations: Annotated[int, typer.Option(help="Rounds of simulate, criticise, revise.", min=1)] = 1
    mode: Annotated[Literal["paper"], typer.Option(help="'paper': Algorithm 1 as published.")] = "paper"


@grouped
def align(
    context: typer.Context,
    user: Annotated[list[str], typer.Option("--user", help="Whose persona; repeatable.")],
    loop: Loop,
    asking: Asking,
    spending: Spending,
    concurrency: Annotated[int, typer.Option(help="How many users at once.", min=1)] = 1,
    as_json: Json = False,
) -> None:
    """Align each user's persona with what the user really did, and record every version."""
    import asyncio

    from ..alignment import align_all
    from ..data.persona import fingerprint_of
    from ..runs import new_run

    configured = settings_asking(context, asking)
    with opened(context) as home, dry_or_real(home, [home.store.user(one) for one in user], spending) as users:
        keys: JsonValue = [one.key for one in users]
        loop_arguments: dict[str, JsonValue] = {**asdict(loop)}
        run = new_run("align", {"users": keys, **loop_arguments}, spending.run)
        with (
            answering(home.store.journal, run, configured, spending) as paying,
            progress_of_alignment(err, loop.n, loop.iterations, len(users)) as listener,
        ):
            optimizer = _optimizer(loop, paying, listener)
            mirror = _nothing if spending.dry_run else home.mirror
            work = align_all(users, optimizer, run.run_id, concurrency=concurrency, aligned=mirror)
            results = asyncio.run(work)
            paying.result = fingerprint_of([alignment.persona for alignment, _ in results])
            paying.stopped = next((alignment.stopped for alignment, _ in results if alignment.stopped), None)
            if not spending.dry_run:
                _show(results, run.run_id, as_json)


def _nothing(_user: object) -> None:
    """Mirror nothing: a dry run leaves no trace."""


def _optimizer(loop: Loop, paying: "OpenRun | Plan", listener: "Listener") -> "PersonaAlignment":
    from ..optimizers import PersonaAlignment
    from ..runs import LOSS, REVISION

    return PersonaAlignment(
        mode=loop.mode,
        n=loop.n,
        iterations=loop.iterations,
        loss_lm=paying.lm(LOSS),
        revision_lm=paying.lm(REVISION),
        listener=listener,
    )


def _show(results: "list[tuple[Alignment, tuple[PersonaVersion, ...]]]", run_id: str, as_json: bool) -> None:
    if not as_json:
        for alignment, versions in results:
            _print(alignment, versions)
        out.print(f"run {run_id}", markup=False)
        return
    written = [
        {
            "alignment": alignment.model_dump(mode="json"),
            "versions": [version.model_dump(mode="json") for version in versions],
            "run": run_id,
        }
        for alignment, versions in results
    ]
    print_json(written[0] if len(written) == 1 else written)


def _print(alignment: "Alignment", versions: "tuple[PersonaVersion, ...]") -> None:
    for loss in alignment.losses:
        out.print(f"textual loss of {loss.interaction_id}: {loss.critique}", markup=False)
    for step in alignment.iterations:
        if step.candidate is None:
            out.print(f"no new version: {step.reason}", markup=False)
    for version in versions:
        out.print(f"persona v{version.number} is {version.status}: {version.reason}", markup=False)
    out.print(diff_text(alignment.base, alignment.persona))
    spend = alignment.spend
    out.print(f"{spend.calls} calls, {spend.prompt_tokens + spend.completion_tokens} tokens, {spend.seconds:.0f} s")
