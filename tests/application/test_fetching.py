"""A model that a command needs and that is not on disk is fetched: an LM if the user agrees, the embedder at once."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from personaagent.lms import fetch as fetching
from personaagent.lms.models import EMBEDDED_LMS, Model

from .command_line import CommandLine, done

LM = EMBEDDED_LMS[0]


class Terminal(io.StringIO):
    """A keyboard on which something was typed."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the models that are fetched. Nothing comes."""
    names: list[str] = []

    def fetch(model: Model, source: Path | None = None, *, on_progress: Callable[..., object]) -> tuple[Path, ...]:
        names.append(model.name)
        return model.locations

    monkeypatch.setattr(fetching, "fetch", fetch)
    return names


@pytest.fixture
def bare(personaagent: CommandLine, tmp_path: Path, fetched: list[str]) -> CommandLine:
    """The command line on a machine without models, in a home folder that knows Omar."""
    file = tmp_path / "omar.jsonl"
    file.write_text(json.dumps({"query": "A film?", "ground_truth": "Slow.", "at": "2024-05-01"}))
    done(personaagent("ingest", "--user", "omar", file))
    return CommandLine(personaagent.home, personaagent.server, {"PERSONAAGENT_MODELS": str(tmp_path / "models")})


ASK = ("ask", "--user", "omar", "A film?")


def test_outside_of_a_terminal_the_line_to_run_is_said(bare: CommandLine, fetched: list[str]) -> None:
    finished = bare(*ASK)
    assert (finished.code, fetched) == (2, [])
    [line] = finished.err.splitlines()
    assert "qwen2.5-coder-1.5b (1,117 MB) is not on this machine: add --yes to fetch it" in line
    assert "`personaagent models fetch qwen2.5-coder-1.5b`" in line


@pytest.mark.parametrize(("typed", "names"), [("\n", [LM]), ("y\n", [LM]), ("n\n", [])])
def test_in_a_terminal_an_lm_is_fetched_if_the_user_agrees(
    bare: CommandLine, fetched: list[str], monkeypatch: pytest.MonkeyPatch, typed: str, names: list[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    asked = bare(*ASK)
    assert "Fetch qwen2.5-coder-1.5b (1,117 MB)" in asked.out + asked.err
    assert fetched == names


@pytest.mark.parametrize("in_environment", [False, True])
def test_yes_fetches_without_a_question(bare: CommandLine, fetched: list[str], in_environment: bool) -> None:
    agreeing = CommandLine(bare.home, bare.server, {**bare.variables, "PERSONAAGENT_YES": "1"})
    if in_environment:
        agreeing(*ASK)
    else:
        bare(*ASK, "--yes", "--lm", "embedded/smollm2")
    assert fetched == ([LM] if in_environment else ["smollm2"])


def test_the_embedder_is_fetched_at_once_where_it_is_needed(bare: CommandLine, fetched: list[str]) -> None:
    by_meaning = CommandLine(bare.home, bare.server, {**bare.variables, "PERSONAAGENT_EMBEDDER": "minilm"})
    done(by_meaning("user", "list"))
    assert fetched == []
    found = by_meaning("memory", "search", "--user", "omar", "A film?")
    assert fetched[0] == "minilm"
    assert found.err.startswith("fetching minilm (23 MB), which is not on this machine")
    assert found.out == ""


def test_without_a_name_the_embedder_and_the_best_lm_are_fetched(bare: CommandLine, fetched: list[str]) -> None:
    paths = done(bare("models", "fetch", "--json")).json
    assert fetched == list(paths) == ["minilm", LM]
    assert [Path(path).name for path in paths["minilm"]] == [
        "all-minilm-l6-v2-int8.onnx",
        "all-minilm-l6-v2-tokenizer.json",
    ]
