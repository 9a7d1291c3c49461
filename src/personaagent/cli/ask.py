"""`personaagent ask`: one answer as one user would want it."""

from typing import Annotated

import typer

from .context import Asking, Json, User, answering, opened, out, print_json
from .grouped import grouped


@grouped
def ask(
    context: typer.Context,
    user: User,
    query: Annotated[str, typer.Argument(help="What to ask.")],
    asking: Asking,
    as_json: Json = False,
) -> None:
    """Answer QUERY under the user's live persona, with the user's memory and tools."""
    with opened(context) as home, answering(context, asking):
        answered = home.agent(home.store.user(user))(query=query)
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
        }
    )
