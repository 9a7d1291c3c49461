"""What `evaluate --engine ray` refuses, before anything is paid or recorded, and what it does without a cluster."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ..postgres import PostgresServer
from .command_line import CommandLine, Finished, done

RAY = ("--engine", "ray")
SHARED = {"PERSONAAGENT_DATABASE": "postgresql://nobody@127.0.0.1:1/none"}


@pytest.fixture
def lamp(tmp_path: Path) -> Path:
    """LaMP files of one made-up user with one question."""
    past = {"id": "p1", "tag": "comedy", "description": "Made-up past", "date": "2020-01-01"}
    query = "Which tag does this movie relate to among the following tags? Just answer with the tag name without "
    question = {
        "id": "q1",
        "user_id": "maya",
        "input": f"{query}further explanation. tags: [comedy, classic] description: Made-up film",
        "profile": [past],
    }
    golds = {"task": "LaMP_2", "golds": [{"id": "q1", "output": "comedy"}]}
    (tmp_path / "questions.json").write_text(json.dumps([question]), encoding="utf-8")
    (tmp_path / "outputs.json").write_text(json.dumps(golds), encoding="utf-8")
    return tmp_path


def evaluate(personaagent: CommandLine, lamp: Path, *options: str) -> Finished:
    return personaagent("evaluate", lamp, "--task", "LaMP-2M", "--method", "prompt", *personaagent.lm, *options)


@pytest.mark.parametrize(
    ("variables", "options", "problem"),
    [
        (SHARED, (*RAY, "--max-calls", "9"), "a Ray cluster keeps no cap: leave out --max-calls"),
        (SHARED, (*RAY, "--deadline", "1h"), "a Ray cluster keeps no cap"),
        ({}, RAY, "set PERSONAAGENT_DATABASE to postgresql://USER@HOST/NAME, here and on each of them"),
        ({"PERSONAAGENT_DATABASE": "sqlite:///file"}, RAY, "need one store"),
        (SHARED, (*RAY, "--address", "127.0.0.1:1"), "no Ray cluster answers at 127.0.0.1:1"),
        (SHARED, (*RAY, "--address", "somewhere"), "no Ray cluster answers at somewhere"),
        ({}, ("--address", "10.0.0.1:6379"), "add --engine ray"),
    ],
)
def test_what_a_cluster_cannot_do_is_said_in_one_line(
    personaagent: CommandLine, lamp: Path, variables: dict[str, str], options: Sequence[str], problem: str
) -> None:
    refused = evaluate(CommandLine(personaagent.home, personaagent.server, variables), lamp, *options)
    assert refused.code != 0
    assert problem in refused.err
    assert len(refused.err.strip().splitlines()) == 1
    assert not personaagent.home.exists()


def test_without_ray_the_command_says_how_to_get_it(
    personaagent: CommandLine, lamp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    refused = evaluate(CommandLine(personaagent.home, personaagent.server, SHARED), lamp, *RAY)
    assert refused.code != 0
    assert "pip install 'personaagent[ray]'" in refused.err


def test_a_dry_run_counts_here_what_a_cluster_would_ask(
    personaagent: CommandLine, lamp: Path, postgres: PostgresServer
) -> None:
    on_server = CommandLine(personaagent.home, personaagent.server, {"PERSONAAGENT_DATABASE": postgres.new_url()})
    before = len(personaagent.server.received)
    assert "in all" in done(evaluate(on_server, lamp, *RAY, "--dry-run")).out
    assert len(personaagent.server.received) == before
