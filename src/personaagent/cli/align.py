"""`personaagent align`: change users' personas by what they really did."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..data.errors import InputError
from .context import (
    AskingCertified,
    Concurrency,
    Json,
    Spending,
    copies_if_dry,
    grouped,
    open_home,
    paying,
    print_result,
    settings,
)

if TYPE_CHECKING:
    from pydantic import JsonValue

    from ..data.store import User
    from ..home import Home
    from ..personas import Aligned


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
    concurrency: Concurrency = 1,
    as_json: Json = False,
) -> None:
    """Align each user's persona with what the user really did, and record every version."""
    import asyncio

    from ..data.persona import fingerprint_of
    from ..journal import LOSS, REVISION, new_run
    from ..optimizers import PersonaAlignment
    from ..personas import align_all

    if loop.mode == "evidence" and loop.iterations > 1:
        raise InputError("--iterations is of the paper's algorithm: add --mode paper, or leave it out")
    configured = settings(context, asking)
    with open_home(context) as home, copies_if_dry(home, _users(home, whom), spending) as users:
        certificates = home.certificates_of(configured.certificate, fit_once=True)
        keys: JsonValue = [user.key for user in users]
        run = new_run("align", {"users": keys, **asdict(loop)}, spending.run)
        with paying(home.store.journal, run, configured, spending) as opened:
            optimizer = PersonaAlignment(**asdict(loop), loss_lm=opened.lm(LOSS), revision_lm=opened.lm(REVISION))
            mirror: Callable[[User], object] = (lambda _user: None) if spending.dry_run else home.mirror
            work = align_all(
                users, optimizer, run.run_id, certificates=certificates, concurrency=concurrency, aligned=mirror
            )
            results = asyncio.run(work)
            opened.result = fingerprint_of([alignment.persona for alignment, _ in results])
            opened.stopped = next((alignment.stopped for alignment, _ in results if alignment.stopped), None)
            if not spending.dry_run:
                written = [
                    {"alignment": alignment, "versions": versions, "run": run.run_id} for alignment, versions in results
                ]
                result = written[0] if len(written) == 1 else written
                print_result(result, _lines(results, run.run_id), as_json=as_json)


def _users(home: "Home", whom: Whom) -> "list[User]":
    if whom.all_users == bool(whom.user):
        raise InputError("say whose personas to align: --user NAME, which can be repeated, or --all")
    if whom.user:
        return [home.store.user(user_id) for user_id in whom.user]
    users = [user for user in home.store.users() if user.interactions.known]
    if not users:
        raise InputError("no user has an interaction with a ground truth: ingest some first")
    return users


def _lines(results: "Sequence[Aligned]", run_id: str) -> Iterator[Any]:
    from .terminal import decisions_table, diff_text

    for alignment, versions in results:
        for loss in alignment.losses:
            yield f"textual loss of {loss.interaction_id}: {loss.critique}"
        for step in alignment.iterations:
            if step.candidate is None:
                yield f"no new version: {step.reason}"
        for version in versions:
            yield f"persona v{version.number} is {version.status}: {version.reason}"
        if alignment.decisions:
            yield decisions_table(alignment.decisions)
        if alignment.losses or alignment.base.text != alignment.persona.text:
            yield diff_text(alignment.base, alignment.persona)
        spend = alignment.spend
        yield f"{spend.calls} calls, {spend.prompt_tokens + spend.completion_tokens} tokens, {spend.seconds:.0f} s"
    yield f"run {run_id}"
