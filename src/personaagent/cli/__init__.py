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
    user,
)
from .context import Flags, print_error, set_up

app = typer.Typer(
    name="personaagent",
    help="LLM programs that become a particular person's.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"max_content_width": 120},
    rich_markup_mode=None,  # Typer's boxes take longer to import than all else that `--help` needs.
)
app.callback()(set_up)
for command in (
    *(demo.demo, ingest.ingest, ask.ask, chat.chat, align.align, serve.serve, serve.ui),
    *(evaluate.evaluate, evaluate.report, certify.certify),
    *(runs.spend, runs.replay, runs.export_run, runs.import_run),
):
    app.command()(command)
for noun in (models, data, persona, memory, user, keys):
    app.add_typer(noun.app, name=noun.__name__.rpartition(".")[2])


def main() -> None:
    """Run the command line; an error is one line on standard error, with a traceback only under `--debug`."""
    sys.excepthook = _print_unexpected
    try:
        app()
    except PersonaAgentError as error:
        if Flags.debug:
            raise
        print_error(str(error))
        sys.exit(2 if isinstance(error, InputError | SetupError) else 1)


def _print_unexpected(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if Flags.debug:
        sys.__excepthook__(kind, error, traceback)
    else:
        print_error(f"unexpected {kind.__name__}: {error} (run with --debug to see where; please report it)")
