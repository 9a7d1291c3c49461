"""Every command that prints a result prints it as JSON too."""

from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from personaagent.cli import app

WITHOUT = {
    "serve": "runs until it is stopped",
    "ui": "runs until it is stopped",
    "chat": "is a conversation",
}
"""Commands that have no result, and why."""


def commands(group: Any, *names: str) -> Iterator[tuple[str, set[str]]]:
    """Yield the commands of the command line, each with its options."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *names, name)
        else:
            yield " ".join((*names, name)), {option for each in command.params for option in each.opts}


COMMANDS = dict(commands(get_command(app)))


def test_every_exception_is_a_command() -> None:
    assert WITHOUT.keys() < COMMANDS.keys()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_takes_json_unless_it_has_no_result(command: str) -> None:
    assert ("--json" in COMMANDS[command]) == (command not in WITHOUT)
