"""What every command shares: the home folder, the LM, how results and errors are printed."""

import json
import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer
from rich.console import Console

if TYPE_CHECKING:
    from ..home import Home
    from ..settings import Settings

User = Annotated[str, typer.Option("--user", help="Whose persona and memory.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


@dataclass(frozen=True)
class Asking:
    """Which LM a command asks; by default that of the settings."""

    lm: Annotated[str | None, typer.Option(help="'embedded', 'embedded/MODEL' or any DSPy name (openai/...).")] = None
    api_base: Annotated[str | None, typer.Option(help="URL of an OpenAI-compatible server that has the LM.")] = None


out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False)


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


def opened(context: typer.Context) -> "Home":
    """Open the home folder; use it in a `with`."""
    from ..home import Home

    return Home(settings(context))


@contextmanager
def answering(context: typer.Context, asking: Asking) -> Generator[None]:
    """Let what is done inside ask the LM that the options, or else the settings, name."""
    import dspy

    from ..lms import open_lm

    configured = settings(context)
    model = open_lm(asking.lm or configured.lm, api_base=asking.api_base or configured.api_base)
    with dspy.context(lm=model, trace=None, disable_history=True):
        yield


def print_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def print_error(message: str) -> None:
    """Print one line on standard error."""
    err.print(f"personaagent: {' '.join(message.split())}", style="red", markup=False, soft_wrap=True)
