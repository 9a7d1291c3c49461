"""`ask` against a server of one's own that is not as OpenAI's: what is printed, and under which name of the LM."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..loopback import Loopback, Reply, loopback
from .command_line import CommandLine, Finished, done


@pytest.fixture
def server() -> Iterator[Loopback]:
    with loopback(lambda _: Reply('{"response": "noir"}')) as up:
        yield up


@pytest.fixture
def omar(personaagent: CommandLine, tmp_path: Path) -> CommandLine:
    file = tmp_path / "omar.jsonl"
    file.write_text(json.dumps({"query": "A film for tonight?", "ground_truth": "Slow.", "at": "2024-05-01"}))
    done(personaagent("ingest", "--user", "omar", file))
    return personaagent


def ask(personaagent: CommandLine, *options: str) -> Finished:
    return personaagent("ask", "--user", "omar", "A film?", *personaagent.lm, *options)


def test_the_length_of_an_answer_and_the_time_for_it_are_options(omar: CommandLine, server: Loopback) -> None:
    done(ask(omar, "--max-answer-tokens", "77", "--lm-timeout", "9"))
    assert server.received[-1]["max_tokens"] == 77


def test_an_answer_that_is_cut_says_which_option_to_set(omar: CommandLine, server: Loopback) -> None:
    server.answering = lambda _: Reply('{"response": "a film fr', finish="length")
    failed = ask(omar)
    assert failed.code != 0
    assert failed.err.strip() == (
        "personaagent: the answer was cut at 1,024 tokens: "
        "set PERSONAAGENT_MAX_ANSWER_TOKENS (--max-answer-tokens) to more"
    )


def test_the_lm_has_the_name_that_the_user_wrote_in_errors_and_in_the_ledger(
    omar: CommandLine, server: Loopback
) -> None:
    done(ask(omar))
    server.answering = lambda _: Reply(status=404)
    assert "personaagent: openai/made-up: status 404" in ask(omar).err
    ledger = done(omar.in_a_process("spend", "--json"))
    assert {line["model"] for line in ledger.json} == {"openai/made-up"}
    assert "127-0-0-1" not in done(omar("spend")).out


def test_what_no_database_takes_is_taken_out_of_an_answer(omar: CommandLine, server: Loopback) -> None:
    server.answering = lambda _: Reply('{"response": "no\0ir \ud83c, \\u0000no\\ud83cir"}')
    answered = done(ask(omar))
    assert answered.out == "noir \ufffd, no\ufffdir\n"
