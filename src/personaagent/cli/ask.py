"""`personaagent ask`: one answer as one user would want it."""

from typing import Annotated

import typer

from .context import (
    Asking,
    Equipment,
    Json,
    Spending,
    UserId,
    copies_if_dry,
    grouped,
    open_home,
    paying,
    print_result,
    settings,
    warn_of_unused,
)


@grouped
def ask(
    context: typer.Context,
    user: UserId,
    query: Annotated[str, typer.Argument(help="What to ask.")],
    asking: Asking,
    equipment: Equipment,
    spending: Spending,
    as_json: Json = False,
) -> None:
    """Answer QUERY under the user's live persona, with the user's memory and tools."""
    from ..journal import new_run
    from ..programs.scope import within

    configured = settings(context, asking)
    with (
        equipment.opened() as tools,
        open_home(context, tools=tools) as home,
        copies_if_dry(home, [home.store.user(user)], spending) as [asker],
    ):
        run = new_run("ask", {"user": asker.key, "query": query}, spending.run)
        with paying(home.store.journal, run, configured, spending) as opened, within(user_key=asker.key):
            warn_of_unused(tools, opened.lm("agent"))
            answer = home.agent(asker)(query=query)
    if spending.dry_run:
        return
    result = {
        "response": answer.response,
        "probabilities": answer.probabilities,
        "persona_version": answer.persona_version,
        "episodes": answer.episodes,
        "trajectory": answer.trajectory,
        "spend": answer.spend,
        "run": run.run_id,
    }
    print_result(result, [answer.response], as_json=as_json)
