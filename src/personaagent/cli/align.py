"""`personaagent align`: rewrite a user's persona from the textual loss of the latest interactions."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .context import Asking, Json, User, answering, err, opened, out, print_json, settings
from .grouped import grouped
from .show import diff_text, progress_of_alignment

if TYPE_CHECKING:
    from ..data.alignment import Alignment
    from ..data.persona import PersonaVersion
    from ..optimizers import PersonaAlignment
    from ..optimizers.events import Listener
    from ..settings import Settings


@dataclass(frozen=True)
class Loop:
    """The parameters of the paper's algorithm."""

    n: Annotated[int, typer.Option(help="How many of the latest interactions to simulate.", min=1)] = 3
    iterations: Annotated[int, typer.Option(help="Rounds of simulate, criticise, revise.", min=1)] = 1
    mode: Annotated[Literal["paper"], typer.Option(help="'paper': Algorithm 1 as published.")] = "paper"


@grouped
def align(context: typer.Context, user: User, loop: Loop, asking: Asking, as_json: Json = False) -> None:
    """Align the user's persona with what the user really did, and record every version."""
    with (
        opened(context) as home,
        answering(context, asking),
        progress_of_alignment(err, loop.n, loop.iterations) as listener,
    ):
        optimizer = _optimizer(loop, asking, settings(context), listener)
        alignment, versions = home.align(home.store.user(user), optimizer)
    if as_json:
        recorded = [version.model_dump(mode="json") for version in versions]
        print_json({"alignment": alignment.model_dump(mode="json"), "versions": recorded})
    else:
        _print(alignment, versions)


def _optimizer(loop: Loop, asking: Asking, roles: "Settings", listener: "Listener") -> "PersonaAlignment":
    from ..lms import open_lm
    from ..optimizers import PersonaAlignment

    base = asking.api_base or roles.api_base
    return PersonaAlignment(
        mode=loop.mode,
        n=loop.n,
        iterations=loop.iterations,
        loss_lm=open_lm(roles.loss_lm, api_base=base) if roles.loss_lm else None,
        revision_lm=open_lm(roles.revision_lm, api_base=base) if roles.revision_lm else None,
        listener=listener,
    )


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
