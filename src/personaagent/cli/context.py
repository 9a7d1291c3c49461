"""What the commands share: options, settings, the open home folder, the run that pays, and how results are printed."""

import gc
import inspect
import json
import logging
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, get_type_hints

import typer

from ..data.errors import BudgetError, InputError

if TYPE_CHECKING:
    import dspy

    from ..data.api_key import KeyLimits
    from ..data.call import Run
    from ..data.store import Store, User
    from ..data.store.journal import Journal
    from ..home import Home
    from ..journal import OpenRun
    from ..journal.budget import Budget
    from ..journal.plan import Plan
    from ..settings import Settings

UserId = Annotated[str, typer.Option("--user", help="Whose persona and memory.")]
OptionalUserId = Annotated[str | None, typer.Option("--user", help="One user; by default all.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Concurrency = Annotated[int, typer.Option(help="How many users at once.", min=1)]


class Flags:
    """What holds for the whole process."""

    debug: ClassVar[bool] = False
    """Whether tracebacks are shown."""
    yes: ClassVar[bool] = False
    """Whether questions are answered with yes."""


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
    yes: Annotated[
        bool,
        typer.Option(
            "--yes",
            "-y",
            help="Fetch an embedded LM that is missing without asking (PERSONAAGENT_YES).",
            envvar="PERSONAAGENT_YES",
            show_envvar=False,
        ),
    ] = False


@dataclass(frozen=True)
class Equipment:
    """Which tools an agent has beside the user's own memory."""

    tool: Annotated[
        list[str] | None, typer.Option(help="A function of yours for answers in text, my_module:my_tool; repeatable.")
    ] = None
    mcp: Annotated[
        list[str] | None, typer.Option(help="URL of an MCP server with such tools, or its command; repeatable.")
    ] = None

    @contextmanager
    def opened(self) -> "Generator[tuple[dspy.Tool, ...]]":
        """Give the tools while the block runs; see `tools_opened`."""
        if not self.tool and not self.mcp:
            yield ()  # Without tools, a command begins before DSPy is imported.
            return
        from ..programs.tools.mcp import tools_opened

        with tools_opened(self.tool or (), self.mcp or ()) as tools:
            yield tools


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
        """Return the caps."""
        from ..journal.budget import Budget, deadline

        return Budget(
            max_calls=self.max_calls,
            max_tokens=self.max_tokens,
            max_usd=self.max_usd,
            deadline=deadline(self.deadline) if self.deadline else None,
        )


@dataclass(frozen=True)
class Limits:
    """What an API key may use, or each key that has no limits of its own."""

    calls_per_minute: Annotated[
        int | None, typer.Option(help="Questions, and alignments asked for, in any 60 seconds.", min=0)
    ] = None
    calls_per_day: Annotated[
        int | None, typer.Option(help="Calls to the LM on a day (UTC), those of alignments included.", min=0)
    ] = None
    dollars_per_day: Annotated[
        float | None, typer.Option(help="Dollars on a day (UTC); the price must be known.", min=0)
    ] = None
    requests_per_minute: Annotated[
        int | None, typer.Option(help="Requests of any kind in any 60 seconds; a server's default is 6,000.", min=0)
    ] = None

    def of_key(self, others: "KeyLimits | None" = None) -> "KeyLimits":
        """Return the limits that are given, with what others say of the rest."""
        from ..data.api_key import KeyLimits

        if self.dollars_per_day is not None and not isfinite(self.dollars_per_day):
            raise InputError(f"--dollars-per-day is {self.dollars_per_day}: give a number")
        given = {name: limit for name, limit in vars(self).items() if limit is not None}
        return (others or KeyLimits()).model_copy(update=given)


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take dataclasses: each of their fields becomes an option of its own.

    Example:
        >>> @dataclass(frozen=True)
        ... class Model:
        ...     lm: Annotated[str, typer.Option(help="Which LM.")] = "embedded"
        >>> @app.command()
        ... @grouped
        ... def ask(model: Model) -> None: ...  # ask --lm NAME
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}

    @wraps(command)
    def run(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        command(**given)

    options = list(_options_of(command))
    run.__annotations__ = {option.name: option.annotation for option in options}
    vars(run)["__signature__"] = inspect.Signature(options)
    return run


def _options_of(command: Callable[..., Any]) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(command, include_extras=True)
    for name, parameter in inspect.signature(command).parameters.items():
        if is_dataclass(hints[name]):
            yield from _options_of(hints[name])
        else:
            yield parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("personaagent"))
        raise typer.Exit


def set_up(
    context: typer.Context,
    home: Annotated[Path | None, typer.Option(help="Home folder (PERSONAAGENT_HOME; default ./.personaagent).")] = None,
    embedder: Annotated[
        str | None,
        typer.Option(help="minilm, or a hosted one: openai/text-embedding-3-small (PERSONAAGENT_EMBEDDER)."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """LLM programs that become a particular person's."""
    from ..lms.models import fetching_with
    from ..settings import Settings
    from .models import fetch_if_agreed

    Flags.debug, Flags.yes = debug, False
    context.with_resource(fetching_with(fetch_if_agreed))
    logging.basicConfig(level=logging.WARNING, handlers=[_OneLineEach()])
    logging.getLogger("dspy.clients.lm").setLevel(logging.ERROR)  # Of answers that are cut, we say more.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    named = {"home": home, "embedder": embedder}
    context.obj = Settings().model_copy(update={name: value for name, value in named.items() if value is not None})


class _OneLineEach(logging.Handler):
    """Prints each message as one line on standard error, above any progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        warn(" ".join(record.getMessage().split()))


def settings(context: typer.Context, asking: Asking | None = None) -> "Settings":
    """Return the settings of this command, with what its options name; take note of `--yes`."""
    configured: Settings = context.obj
    given = vars(asking) if asking else {}
    Flags.yes |= bool(given.get("yes"))
    named = {name: value for name, value in given.items() if value and name in type(configured).model_fields}
    return configured.model_copy(update=named)


def open_home(context: typer.Context, *, guest: bool = True, tools: "Sequence[dspy.Tool]" = ()) -> "Home":
    """Open the home folder, as a guest if another process has it open; use it in a `with`."""
    from ..home import Home

    return Home(settings(context), tools=tools, guest=guest)


def open_journal(context: typer.Context) -> "Store":
    """Open the store of the home folder without its index: other processes may have the folder open."""
    from ..home import open_journal_store

    return open_journal_store(settings(context))


@contextmanager
def copies_if_dry(home: "Home", users: "Sequence[User]", spending: Spending) -> "Generator[list[User]]":
    """Give the users themselves, or for a dry run copies of them that are gone afterwards."""
    from ..home import copy_user, scratch_store

    if not spending.dry_run:
        yield list(users)
        return
    with scratch_store(home.settings) as scratch:
        yield [copy_user(user, scratch, user.personas.live) for user in users]


@contextmanager
def paying(journal: "Journal", run: "Run", configured: "Settings", spending: Spending) -> "Generator[OpenRun | Plan]":
    """Let the block ask the LMs of the settings; every call is journalled. With `--dry-run`, none is made."""
    from ..journal import open_run, role_lms
    from ..journal.plan import planned
    from .terminal import plan_table

    budget, price = spending.budget(), configured.price
    if spending.dry_run:
        with planned(role_lms(configured), price) as plan:
            yield plan
        echo(plan_table(plan))
        return
    go_on = f"to go on, give the same command `--run {run.run_id}` and a larger budget"
    try:
        with open_run(journal, run, role_lms(configured), budget=budget, price=price) as opened:
            freeze_garbage()
            yield opened
    except BudgetError as stop:
        raise BudgetError(f"{stop}; {go_on}") from stop
    if opened.stopped:
        raise BudgetError(f"{opened.stopped}; {go_on}")


def warn_of_unused(tools: "Sequence[dspy.Tool]", lm: "dspy.LM") -> None:
    """Say so where an LM can use no tools."""
    from ..data.call import as_written

    if tools and not lm.supports_function_calling:
        warn(f"{as_written(lm.model)} cannot call functions, so it uses no tools: name an LM that can with --lm")


def freeze_garbage() -> None:
    """Take what has been imported out of garbage collection: to look through it stops every thread for 0.1 s."""
    gc.collect()
    gc.freeze()


def print_result(result: Any, lines: Iterable[Any], *, as_json: bool) -> None:
    """Print a result on standard output, as JSON or in lines: texts and tables."""
    if as_json:
        written = json.dumps(result, ensure_ascii=False, indent=2, default=lambda noun: noun.model_dump(mode="json"))
        sys.stdout.write(written + "\n")
        return
    for line in lines:
        echo(line)


def echo(shown: Any) -> None:
    """Print a text or a table on standard output."""
    from .terminal import out

    out.print(shown)


def warn(message: str, style: str = "yellow") -> None:
    """Print one line on standard error."""
    from ..progress import err

    err.print(message, style=style, soft_wrap=True)


def print_error(message: str) -> None:
    """Print an error as one line on standard error."""
    warn(f"personaagent: {' '.join(message.split())}", style="red")
