"""The command line: nouns, then verbs. Exit codes: 0 done, 1 failed, 2 wrong usage, data or set-up."""

import sys
from types import TracebackType

import typer

from ..data.errors import InputError, PersonaAgentError, SetupError
from . import (
    align,
    ask,
    certify,
    chat,
    data,
    demo,
    evaluate,
    ingest,
    keys,
    memory,
    models,
    persona,
    runs,
    serve,
    ui,
    user,
)
from .context import Debug, print_error, set_up

app = typer.Typer(
    name="personaagent",
    help="LLM programs that become a particular person's.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"max_content_width": 120},
    rich_markup_mode=None,  # Typer's boxes take longer to import than all else that `--help` needs.
)
app.callback()(set_up)
app.command()(demo.demo)
app.add_typer(models.app, name="models")
app.add_typer(data.app, name="data")
app.command()(ingest.ingest)
app.command()(ask.ask)
app.command()(chat.chat)
app.command()(align.align)
app.add_typer(persona.app, name="persona")
app.add_typer(memory.app, name="memory")
app.add_typer(user.app, name="user")
app.command()(serve.serve)
app.add_typer(keys.app, name="keys")
app.command()(ui.ui)
app.command()(evaluate.evaluate)
app.command()(evaluate.report)
app.command()(certify.certify)
app.command()(runs.spend)
app.command()(runs.replay)
app.command()(runs.export_run)
app.command()(runs.import_run)


def main() -> None:
    """Run the command line; an error is one line on standard error, with a traceback only under `--debug`."""
    sys.excepthook = _print_unexpected
    try:
        app()
    except PersonaAgentError as error:
        if Debug.on:
            raise
        print_error(str(error))
        sys.exit(2 if isinstance(error, InputError | SetupError) else 1)


def _print_unexpected(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if Debug.on:
        sys.__excepthook__(kind, error, traceback)
    else:
        print_error(f"unexpected {kind.__name__}: {error} (run with --debug to see where; please report it)")
