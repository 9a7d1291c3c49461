"""`personaagent chat`: each line typed is answered, knows the lines before, and is remembered."""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..loopback import Loopback, Reply, loopback
from .command_line import CommandLine, Finished, done


@pytest.fixture
def server() -> Iterator[Loopback]:
    """An LM that answers with the number of the question."""
    with loopback() as up:
        up.answering = lambda _: Reply(json.dumps({"response": f"answer {len(up.asked)}"}))
        yield up


@pytest.fixture
def omar(personaagent: CommandLine, tmp_path: Path) -> CommandLine:
    file = tmp_path / "omar.jsonl"
    file.write_text(json.dumps({"query": "A film for tonight?", "ground_truth": "Slow.", "at": "2024-05-01"}))
    done(personaagent("ingest", "--user", "omar", file))
    return personaagent


def chat(personaagent: CommandLine, monkeypatch: pytest.MonkeyPatch, typed: str, *options: str) -> Finished:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    return personaagent("chat", "--user", "omar", *personaagent.lm, *options)


def test_each_line_is_answered_in_one_call_that_knows_the_lines_before(
    omar: CommandLine, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = done(chat(omar, monkeypatch, "A film?\n\nAnother?\n/quit\nnever asked\n"))
    assert finished.out == "answer 1\nanswer 2\n"
    first, second = server.asked
    assert "| A film?" not in first.text
    assert "user:\n| A film?\nassistant:\n| answer 1" in second.text


def test_the_conversation_is_remembered_as_the_server_does(omar: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    done(chat(omar, monkeypatch, "A film?\n"))
    [_, stored] = done(omar("memory", "list", "--user", "omar", "--json")).json["interactions"]
    assert (stored["query"], stored["response"], stored["persona_version"]) == ("A film?", "answer 1", 1)
    assert stored["ground_truth"] is None
    assert stored["metadata"]["served_by"].endswith("made-up")


@pytest.mark.slow
def test_what_is_said_is_in_the_next_prompt(
    omar: CommandLine, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = done(chat(omar, monkeypatch, "/said I am vegetarian\nDinner?\n"))
    assert "told: I am vegetarian" in finished.err
    [asked] = server.asked
    assert "I am vegetarian" in asked.text


def test_a_line_that_fails_does_not_end_the_conversation(
    omar: CommandLine, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answering = lambda asked: Reply('{"response": "slow"}') if "Another" in asked.text else Reply(status=404)
    finished = done(chat(omar, monkeypatch, "A film?\nAnother?\n"))
    assert finished.out == "slow\n"
    assert "personaagent: openai/made-up: status 404" in finished.err


def test_a_budget_ends_the_conversation(omar: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    finished = chat(omar, monkeypatch, "A film?\nAnother?\n", "--max-calls", "1")
    assert (finished.code, finished.out) == (1, "answer 1\n")
    assert "--run" in finished.err
    assert chat(omar, monkeypatch, "", "--dry-run").code == 2
