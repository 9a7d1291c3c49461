"""`personaagent align`: change users' personas by what they really did."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..data.errors import InputError
from .context import (
    AskingCertified,
    Json,
    Spending,
    answering,
    dry_or_real,
    err,
    opened,
    out,
    print_json,
    settings_asking,
)
from .grouped import grouped
from .show import decisions_table, diff_text, progress_of_alignment

if TYPE_CHECKING:
    from pydantic import JsonValue

    from ..data.alignment import Alignment
    from ..data.persona import PersonaVersion
    from ..data.store import User
    from ..home import Home
    from ..journal import OpenRun
    from ..journal.plan import Plan
    from ..optimizers import PersonaAlignment
    from ..optimizers.events import Listener


@dataclass(frozen=True)
class Whom:
    """Whose personas are aligned."""

    user: Annotated[list[str] | None, typer.Option("--user", help="Whose persona; repeatable.")] = None
    all_users: Annotated[bool, typer.Option("--all", help="All users who have a ground truth.")] = False


@dataclass(frozen=True)
class Loop:
    """How personas are aligned."""

    mode: Annotated[
        Literal["evidence", "paper"], typer.Option(help="'evidence': what proves to help; 'paper': Algorithm 1.")
    ] = "evidence"
    n: Annotated[int, typer.Option(help="How many of the latest interactions to simulate.", min=1)] = 3
    iterations: Annotated[int, typer.Option(help="Paper only: rounds of simulate, criticise, revise.", min=1)] = 1


@grouped
def align(
    context: typer.Context,
    whom: Whom,
    loop: Loop,
    asking: AskingCertified,
    spending: Spending,
    concurrency: Annotated[int, typer.Option(help="How many users at once.", min=1)] = 1,
    as_json: Json = False,
) -> None:
    """Align each user's persona with what the user really did, and record every version."""
    import asyncio

    from ..alignment import align_all
    from ..data.persona import fingerprint_of
    from ..journal import new_run

    if loop.mode == "evidence" and loop.iterations > 1:
        raise InputError("--iterations is of the paper's algorithm: add --mode paper, or leave it out")
    configured = settings_asking(context, asking)
    with opened(context) as home, dry_or_real(home, _users(home, whom), spending) as users:
        certificates = home.certificates_of(configured.certificate, fit_once=True)
        keys: JsonValue = [one.key for one in users]
        loop_arguments: dict[str, JsonValue] = {**asdict(loop)}
        run = new_run("align", {"users": keys, **loop_arguments}, spending.run)
        with (
            answering(home.store.journal, run, configured, spending) as paying,
            progress_of_alignment(err, loop.mode, loop.n, loop.iterations, len(users)) as listener,
        ):
            optimizer = _optimizer(loop, paying, listener)
            mirror = _nothing if spending.dry_run else home.mirror
            work = align_all(
                users, optimizer, run.run_id, certificates=certificates, concurrency=concurrency, aligned=mirror
            )
            results = asyncio.run(work)
            paying.result = fingerprint_of([alignment.persona for alignment, _ in results])
            paying.stopped = next((alignment.stopped for alignment, _ in results if alignment.stopped), None)
            if not spending.dry_run:
                _show(results, run.run_id, as_json)


def _users(home: "Home", whom: Whom) -> "list[User]":
    if whom.all_users == bool(whom.user):
        raise InputError("say whose personas to align: --user NAME, which can be repeated, or --all")
    if whom.user:
        return [home.store.user(one) for one in whom.user]
    users = [user for user in home.store.users() if any(one.ground_truth for one in user.interactions.all())]
    if not users:
        raise InputError("no user has an interaction with a ground truth: ingest some first")
    return users


def _nothing(_user: object) -> None:
    """Mirror nothing: a dry run leaves no trace."""


def _optimizer(loop: Loop, paying: "OpenRun | Plan", listener: "Listener") -> "PersonaAlignment":
    from ..journal import LOSS, REVISION
    from ..optimizers import PersonaAlignment

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
    if alignment.decisions:
        out.print(decisions_table(alignment.decisions))
    if alignment.losses or alignment.base.text != alignment.persona.text:
        out.print(diff_text(alignment.base, alignment.persona))
    spend = alignment.spend
    out.print(f"{spend.calls} calls, {spend.prompt_tokens + spend.completion_tokens} tokens, {spend.seconds:.0f} s")
