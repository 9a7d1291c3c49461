"""A loopback server, and the command line in a home folder that asks it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..loopback import Loopback, loopback
from .command_line import CommandLine


@pytest.fixture(scope="session")
def server() -> Iterator[Loopback]:
    with loopback() as up:
        yield up


@pytest.fixture
def personaagent(tmp_path: Path, server: Loopback) -> CommandLine:
    """The command line in an empty home folder."""
    return CommandLine(tmp_path / "home", server)
