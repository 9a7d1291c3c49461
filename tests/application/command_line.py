"""The command line as a user has it: arguments in, exit code and texts out."""

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from personaagent.cli import main

from ..loopback import Loopback


class Finished(NamedTuple):
    """What a run of the command line left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The JSON document on standard output."""
        return json.loads(self.out)


@dataclass(frozen=True)
class CommandLine:
    """`personaagent --home HOME ...`, where LMs and embedder are a loopback server's."""

    home: Path
    server: Loopback
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    """Environment variables beside those that name the server."""

    @property
    def lm(self) -> tuple[str, ...]:
        """The options that name the server's LM."""
        return ("--lm", "openai/made-up", "--api-base", self.server.url)

    def __call__(self, *arguments: str | Path) -> Finished:
        """Run a command in this process."""
        out, err = io.StringIO(), io.StringIO()
        handlers = logging.getLogger().handlers
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name in [name for name in os.environ if name.startswith("PERSONAAGENT_")]:
                patch.delenv(name)
            for name, value in self._environment.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["personaagent", "--home", str(self.home), *map(str, arguments)])
            patch.setattr(sys, "excepthook", sys.excepthook)
            patch.setattr(logging.getLogger(), "handlers", [])
            try:
                main()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
        assert logging.getLogger().handlers is handlers
        return Finished(code, out.getvalue(), err.getvalue())

    def in_a_process(self, *arguments: str | Path) -> Finished:
        """Run a command in a process of its own."""
        command = [sys.executable, "-m", "personaagent", "--home", str(self.home), *map(str, arguments)]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PERSONAAGENT_")}
        environment = {**inherited, **self._environment}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        return Finished(done.returncode, done.stdout, done.stderr)

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "PERSONAAGENT_EMBEDDER": "openai/made-up-embedding",
            "OPENAI_API_BASE": self.server.url,
            "OPENAI_API_KEY": "made-up-key",
            **self.variables,
        }
