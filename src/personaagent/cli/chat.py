"""`personaagent chat`: a conversation as one user would want it."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from secrets import token_hex
from typing import TYPE_CHECKING

import typer

from ..data.errors import InputError, ServiceError
from .context import Asking, Spending, UserId, grouped, open_home, paying, print_error, settings, warn

if TYPE_CHECKING:
    from ..data.store import User
    from ..home import Home

_SAID = "/said "
Turn = tuple[str, str]
"""Who spoke, and what was said."""


@grouped
def chat(context: typer.Context, user: UserId, asking: Asking, spending: Spending) -> None:
    """Answer each line that is typed under the user's live persona, knowing the lines before, and remember it.

    /said TEXT states something, which holds from the next answer on. /quit or Ctrl-D ends.
    """
    from ..journal import AGENT, new_run

    if spending.dry_run:
        raise InputError("--dry-run: what a conversation costs depends on what is said: try it with `personaagent ask`")
    with open_home(context) as home:
        asker, turns = home.store.user(user), list[Turn]()
        run = new_run("chat", {"user": asker.key}, spending.run)
        with paying(home.store.journal, run, settings(context, asking), spending) as opened:
            for line in _lines():
                try:
                    if line.startswith(_SAID):
                        warn(f"told: {home.tell(asker, line.removeprefix(_SAID)).statement.text}")
                    else:
                        turns += _answered(home, asker, line, turns, opened.lms[AGENT].model)
                except (InputError, ServiceError) as error:  # The conversation goes on.
                    print_error(str(error))


def _answered(home: "Home", user: "User", query: str, turns: Sequence[Turn], lm: str) -> tuple[Turn, Turn]:
    """Print the answer while it is written, store the exchange, and return it."""
    from ..data.task import OPEN
    from ..personas import exchange_of
    from ..programs.context import Context, conversation_of
    from ..programs.scope import within
    from ..programs.streaming import telling
    from .terminal import out

    interaction_id, begun = token_hex(12), ""

    def show(piece: str) -> None:
        nonlocal begun
        begun += piece
        out.print(piece, end="")

    with within(f"turn {interaction_id}", user_key=user.key), telling(show):
        prediction = home.agent(user, OPEN)(query=query, context=Context(conversation_of(turns)))
    answer = str(prediction.response)
    out.print(answer.removeprefix(begun) if answer.startswith(begun) else f"\n{answer}")
    user.interactions.add([exchange_of(interaction_id, query, OPEN, prediction, lm)])
    return ("user", query), ("assistant", answer)


def _lines() -> Iterator[str]:
    """Yield what is typed, until its end or `/quit`."""
    with suppress(ImportError):
        import_module("readline")  # With it, the arrow keys work.
    with suppress(EOFError):
        while (line := input("> " if sys.stdin.isatty() else "").strip()) != "/quit":
            if line:
                yield line
