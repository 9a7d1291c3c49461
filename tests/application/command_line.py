"""The command line as a user has it: arguments in, exit code and texts out."""

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from personaagent import lms
from personaagent.cli import main
from personaagent.lms import open_embedder
from personaagent.lms.models import MODELS_VARIABLE
from personaagent.testing import HashEmbedder

from ..loopback import Loopback

_HASH = "hash-words"
"""The embedder that needs no model file. Only tests have it, so no process of its own does."""


class Finished(NamedTuple):
    """What a run of the command line left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The JSON document on standard output."""
        return json.loads(self.out)


def done(finished: Finished) -> Finished:
    """Return what a command left that must have done its work."""
    assert finished.code == 0, finished.err
    assert "Traceback" not in finished.err
    return finished


@dataclass(frozen=True)
class CommandLine:
    """`personaagent --home HOME ...`, with a loopback server at hand; in this process, episodes are found by words."""

    home: Path
    server: Loopback
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the environment says; otherwise every setting is as by default."""

    @property
    def lm(self) -> tuple[str, ...]:
        """The options that name the server's LM."""
        return ("--lm", "openai/made-up", "--api-base", self.server.url)

    def __call__(self, *arguments: str | Path) -> Finished:
        """Run a command in this process."""
        out, err = io.StringIO(), io.StringIO()
        with as_in_a_new_process(self.variables) as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "argv", ["personaagent", *self._arguments(arguments)])
            try:
                main()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
        return Finished(code, out.getvalue(), err.getvalue())

    def in_a_process(self, *arguments: str | Path) -> Finished:
        """Run a command in a process of its own."""
        command = [sys.executable, "-m", "personaagent", *self._arguments(arguments)]
        environment = {name: value for name, value in os.environ.items() if not _is_setting(name)}
        done = subprocess.run(
            command, env={**environment, **self.variables}, capture_output=True, text=True, timeout=120, check=False
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def _arguments(self, arguments: Sequence[str | Path]) -> list[str]:
        return ["--home", str(self.home), *map(str, arguments)]


def _is_setting(variable: str) -> bool:
    """Whether a variable of the environment is ours, but for that which says where the model files are."""
    return variable.startswith("PERSONAAGENT_") and variable != MODELS_VARIABLE


@contextmanager
def as_in_a_new_process(variables: Mapping[str, str]) -> Generator[pytest.MonkeyPatch]:
    """Let settings be those of the variables alone while the block runs."""
    with pytest.MonkeyPatch.context() as patch:
        for name in filter(_is_setting, list(os.environ)):
            patch.delenv(name)
        for name, value in {"PERSONAAGENT_EMBEDDER": _HASH, **variables}.items():
            patch.setenv(name, value)
        patch.setattr(lms, "open_embedder", lambda name: HashEmbedder() if name == _HASH else open_embedder(name))
        patch.setattr(sys, "excepthook", sys.excepthook)
        patch.setattr(logging.getLogger(), "handlers", [])
        yield patch
