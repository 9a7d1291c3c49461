"""`personaagent align`: rewrite a user's persona from the textual loss of the latest interactions."""

from typing import Annotated, Literal

import typer

from .context import ApiBase, Json, Lm, User, asking, err, opened, out, print_json, settings
from .show import diff_text, progress_of_alignment


def align(
    context: typer.Context,
    user: User,
    n: Annotated[int, typer.Option(help="How many of the latest interactions to simulate.", min=1)] = 3,
    iterations: Annotated[int, typer.Option(help="Rounds of simulate, criticise, revise.", min=1)] = 1,
    mode: Annotated[Literal["paper"], typer.Option(help="'paper': Algorithm 1 as published.")] = "paper",
    lm: Lm = None,
    api_base: ApiBase = None,
    as_json: Json = False,
) -> None:
    """Align the user's persona with what the user really did, and record every version."""
    from ..lms import open_lm
    from ..optimizers import PersonaAlignment

    roles = settings(context)
    base = api_base or roles.api_base
    with opened(context) as home, asking(context, lm, api_base), progress_of_alignment(err, n, iterations) as listener:
        optimizer = PersonaAlignment(
            mode=mode,
            n=n,
            iterations=iterations,
            loss_lm=open_lm(roles.loss_lm, api_base=base) if roles.loss_lm else None,
            revision_lm=open_lm(roles.revision_lm, api_base=base) if roles.revision_lm else None,
            listener=listener,
        )
        alignment, versions = home.align(home.store.user(user), optimizer)
    if as_json:
        print_json(
            {
                "alignment": alignment.model_dump(mode="json"),
                "versions": [version.model_dump(mode="json") for version in versions],
            }
        )
        return
    for loss in alignment.losses:
        out.print(f"[dim]textual loss of {loss.interaction_id}:[/dim] ", end="")
        out.print(loss.critique, markup=False)
    for version, step in zip(versions, (step for step in alignment.iterations if step.candidate), strict=True):
        out.print(f"\npersona v{version.number} ({version.status}): {step.reason}", markup=False)
    out.print(diff_text(alignment.base, alignment.persona))
    spend = alignment.spend
    out.print(f"{spend.calls} calls, {spend.prompt_tokens + spend.completion_tokens} tokens, {spend.seconds:.0f} s")
