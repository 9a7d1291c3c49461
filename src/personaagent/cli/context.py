"""What every command shares: the home folder, the LM, how results and errors are printed."""

import gc
import json
import logging
import os
import re
import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from ..data.errors import BudgetError
from .show import plan_table

if TYPE_CHECKING:
    from ..data.call import Run
    from ..data.store import User as StoredUser
    from ..data.store.journal import Journal
    from ..home import Home
    from ..journal import OpenRun
    from ..journal.budget import Budget
    from ..journal.plan import Plan
    from ..settings import Settings

User = Annotated[str, typer.Option("--user", help="Whose persona and memory.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


@dataclass(frozen=True)
class Asking:
    """Which LM a command asks; by default that of the settings."""

    lm: Annotated[str | None, typer.Option(help="'embedded', 'embedded/MODEL' or any DSPy name (openai/...).")] = None
    api_base: Annotated[str | None, typer.Option(help="URL of an OpenAI-compatible server that has the LM.")] = None
    max_answer_tokens: Annotated[
        int | None, typer.Option(help="Tokens of one answer at most (PERSONAAGENT_MAX_ANSWER_TOKENS).", min=1)
    ] = None
    lm_timeout: Annotated[
        float | None, typer.Option(help="Seconds that a server may take to answer (PERSONAAGENT_LM_TIMEOUT).", min=0.1)
    ] = None


@dataclass(frozen=True)
class AskingCertified(Asking):
    """Which LM a command asks, and what is known of changes for it."""

    certificate: Annotated[
        Path | None, typer.Option(help="From certify; goes before the package's (PERSONAAGENT_CERTIFICATE).")
    ] = None


@dataclass(frozen=True)
class Spending:
    """What a command may spend, and which run pays."""

    run: Annotated[str | None, typer.Option(help="The run to take up again, or a name for a new one.")] = None
    max_calls: Annotated[int | None, typer.Option(help="Calls at most, earlier stretches included.", min=0)] = None
    max_tokens: Annotated[int | None, typer.Option(help="Tokens of prompts and answers at most.", min=0)] = None
    max_usd: Annotated[float | None, typer.Option(help="Dollars at most; the price must be known.", min=0)] = None
    deadline: Annotated[str | None, typer.Option(help="No call after 90s, 15m or 2h, or an ISO time.")] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the calls and their worst case; make none.")] = False

    def budget(self) -> "Budget":
        """Return the caps.

        Raises:
            InputError: The deadline is not a time.
        """
        from ..journal.budget import Budget, deadline

        return Budget(
            max_calls=self.max_calls,
            max_tokens=self.max_tokens,
            max_usd=self.max_usd,
            deadline=deadline(self.deadline) if self.deadline else None,
        )


_WIDE = 160
"""Columns where nobody says how many there are: a table in a file or a pipe is not cut."""


class Terminal(Console):
    """A console on which text cannot act: users and LMs may have written it, and terminals obey control characters."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield what is to be shown, without control characters in it."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else _CONTROLS.sub("", text), style, control)


_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""All but tabs and line breaks, and what turns the direction of writing round."""

out = Terminal(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _WIDE)
err = Terminal(stderr=True, highlight=False)


class Debug:
    """Whether tracebacks are shown."""

    on: ClassVar[bool] = False


class Setup:
    """The options that stand before the command."""

    def __init__(self, settings: "Settings") -> None:
        self.settings = settings

    @staticmethod
    def from_options(
        context: typer.Context,
        home: Annotated[
            Path | None, typer.Option(help="Home folder (PERSONAAGENT_HOME; default ./.personaagent).")
        ] = None,
        debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    ) -> None:
        """LLM programs that become a particular person's."""
        from ..settings import Settings

        Debug.on = debug
        logging.basicConfig(level=logging.WARNING, handlers=[_OneLineEach()])
        logging.getLogger("dspy.clients.lm").setLevel(logging.ERROR)  # Of answers that are cut, we say more.
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        context.obj = Setup(Settings(home=home) if home is not None else Settings())


class _OneLineEach(logging.Handler):
    """Prints each message as one line on standard error, above any progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        err.print(" ".join(record.getMessage().split()), style="yellow", markup=False, soft_wrap=True)


def settings(context: typer.Context) -> "Settings":
    """Return the settings of this run."""
    setup: Setup = context.obj
    return setup.settings


@contextmanager
def dry_or_real(home: "Home", users: "Sequence[StoredUser]", spending: Spending) -> "Generator[list[StoredUser]]":
    """Give the users themselves, or for a dry run copies of them that are gone afterwards."""
    from ..scratch import copy_user, scratch_store

    if not spending.dry_run:
        yield list(users)
        return
    with scratch_store(home.settings) as scratch:
        yield [copy_user(user, scratch, user.personas.live) for user in users]


def opened(context: typer.Context, *, guest: bool = True) -> "Home":
    """Open the home folder, as a guest if another process has it open; use it in a `with`."""
    from ..home import Home

    return Home(settings(context), guest=guest)


def settings_asking(context: typer.Context, asking: Asking) -> "Settings":
    """Return the settings of this run, with what the options name."""
    named = {name: value for name, value in vars(asking).items() if value}
    return settings(context).model_copy(update=named)


def keep_for_good() -> None:
    """Take what is there by now for garbage no more: to look through all that was imported stops every thread 0.1 s."""
    gc.collect()
    gc.freeze()


@contextmanager
def answering(
    journal: "Journal", run: "Run", configured: "Settings", spending: Spending
) -> "Generator[OpenRun | Plan]":
    """Let what is done inside ask the LMs of the settings; every call is journalled. With `--dry-run`, none is made."""
    from ..journal import open_run, role_lms
    from ..journal.plan import planned

    budget, price = spending.budget(), configured.price
    if spending.dry_run:
        with planned(role_lms(configured), price) as plan:
            yield plan
        out.print(plan_table(plan))
        return
    try:
        with open_run(journal, run, role_lms(configured), budget=budget, price=price) as going_on:
            keep_for_good()
            yield going_on
    except BudgetError as stop:
        raise BudgetError(_how_to_go_on(str(stop), run)) from stop
    if going_on.stopped:
        raise BudgetError(_how_to_go_on(going_on.stopped, run))


def _how_to_go_on(reason: str, run: "Run") -> str:
    return f"{reason}; to go on, give the same command `--run {run.run_id}` and a larger budget"


def print_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def print_error(message: str) -> None:
    """Print one line on standard error."""
    err.print(f"personaagent: {' '.join(message.split())}", style="red", markup=False, soft_wrap=True)
