"""`personaagent ask`: one answer as one user would want it."""

from typing import Annotated

import typer

from .context import Asking, Json, Spending, User, answering, dry_or_real, opened, out, print_json, settings_asking
from .grouped import grouped


@grouped
def ask(
    context: typer.Context,
    user: User,
    query: Annotated[str, typer.Argument(help="What to ask.")],
    asking: Asking,
    spending: Spending,
    as_json: Json = False,
) -> None:
    """Answer QUERY under the user's live persona, with the user's memory and tools."""
    from ..journal import new_run
    from ..programs.scope import within

    configured = settings_asking(context, asking)
    with opened(context) as home, dry_or_real(home, [home.store.user(user)], spending) as [asked]:
        run = new_run("ask", {"user": asked.key, "query": query}, spending.run)
        with answering(home.store.journal, run, configured, spending), within(user_key=asked.key):
            answered = home.agent(asked)(query=query)
    if spending.dry_run:
        return
    if not as_json:
        out.print(answered.response, markup=False)
        return
    print_json(
        {
            "response": answered.response,
            "persona_version": answered.persona_version,
            "episodes": [episode.model_dump(mode="json") for episode in answered.episodes],
            "trajectory": [action.model_dump(mode="json") for action in answered.trajectory],
            "spend": answered.spend.model_dump(mode="json"),
            "run": run.run_id,
        }
    )
