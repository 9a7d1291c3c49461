"""An evaluation says why rows have no score, and fails if none has one."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from personaagent.cli.demo import write_lamp_files

from ..loopback import Loopback, Reply, loopback
from .command_line import CommandLine, Finished, done


@pytest.fixture
def server() -> Iterator[Loopback]:
    with loopback() as up:
        yield up


@pytest.fixture(scope="module")
def lamp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lamp_files(tmp_path_factory.mktemp("lamp") / "LaMP-2M")


def evaluate(personaagent: CommandLine, lamp: Path, *options: str) -> Finished:
    return personaagent("evaluate", lamp, "--task", "LaMP-2M", "--method", "prompt", *personaagent.lm, *options)


def test_an_evaluation_in_which_every_row_failed_fails_and_says_why(
    personaagent: CommandLine, lamp: Path, server: Loopback
) -> None:
    server.answering = lambda _: Reply(status=404)
    failed = evaluate(personaagent, lamp, "--questions", "2", "--json")
    assert failed.code == 1
    [reason, end] = failed.err.splitlines()
    assert reason.startswith("2 not scored: LMError: openai/made-up: status 404: check the name of the model")
    assert end == "nothing was scored"
    [(said, count)] = failed.json["unscored"].items()
    assert (said[:8], count) == ("LMError:", 2)


def test_an_evaluation_in_which_a_row_failed_says_why_and_succeeds(
    personaagent: CommandLine, lamp: Path, server: Loopback
) -> None:
    failing = json.loads((lamp / "questions.json").read_text(encoding="utf-8"))[0]["input"]
    server.answering = lambda asked: Reply(status=404) if failing[-80:] in asked.text else Reply()
    evaluated = done(evaluate(personaagent, lamp))
    *_, reason = evaluated.err.splitlines()
    assert reason.startswith("1 not scored: LMError: ")
