"""`personaagent ask`: one answer as one user would want it."""

from dataclasses import dataclass
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
    warn,
    warn_of_unused,
)

_LIKELIEST = 3
"""How many of the most probable answers are shown."""


@dataclass(frozen=True)
class Question:
    """What is asked, and in which form the answer comes."""

    query: Annotated[str, typer.Argument(help="What to ask.")]
    task: Annotated[
        str | None, typer.Option(help="open for free text, or a task's name; by default the user's latest.")
    ] = None


@grouped
def ask(
    context: typer.Context,
    user: UserId,
    question: Question,
    asking: Asking,
    equipment: Equipment,
    spending: Spending,
    as_json: Json = False,
) -> None:
    """Answer QUERY under the user's live persona, with the user's memory and tools."""
    from ..data.task import task_named
    from ..journal import new_run
    from ..programs.scope import within

    configured = settings(context, asking)
    with (
        equipment.opened() as tools,
        open_home(context, tools=tools) as home,
        copies_if_dry(home, [home.store.user(user)], spending) as [asker],
    ):
        run = new_run("ask", {"user": asker.key, "query": question.query}, spending.run)
        with paying(home.store.journal, run, configured, spending) as opened, within(user_key=asker.key):
            warn_of_unused(tools, opened.lm("agent"))
            agent = home.agent(asker, task_named(question.task) if question.task else None)
            answer = agent(query=question.query)
    if spending.dry_run:
        return
    if answer.probabilities is not None and not as_json:
        likeliest = sorted(answer.probabilities.items(), key=lambda found: -found[1])[:_LIKELIEST]
        said = ", ".join(f"{label} {share:.0%}" for label, share in likeliest)
        warn(f"an answer of task {agent.task.name}: {said}; for free text add --task open")
    result = {
        "task": agent.task.name,
        "response": answer.response,
        "probabilities": answer.probabilities,
        "persona_version": answer.persona_version,
        "episodes": answer.episodes,
        "trajectory": answer.trajectory,
        "spend": answer.spend,
        "run": run.run_id,
    }
    print_result(result, [answer.response], as_json=as_json)
