"""The likeliest mistakes of a beginner: each is answered with one line that says what to do."""

import json
import re
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from .command_line import CommandLine, done

PAGE = Path(__file__).parents[2] / "docs" / "beginner-mistakes.md"


class Mistake(NamedTuple):
    """A mistake, and what comes of it."""

    typed: str
    """The command, without `personaagent`."""
    code: int
    says: str
    """The line on standard error; `...` stands for more of the same."""
    means: str


MISTAKES = (
    Mistake(
        "ask --user omar 'A film?'",
        2,
        "personaagent: unknown user 'omar': ingest this user's interactions first",
        "Nothing of this user is in this home folder: ingest first, or look at the folder (`--home`) and the spelling "
        "(`personaagent user list`).",
    ),
    Mistake(
        "ask 'A film?'",
        2,
        "Error: Missing option '--user'.",
        "An answer is always for one user: say for whom.",
    ),
    Mistake(
        "ask --user maya 'A film?' --lm openai/gpt-4.1-mini",
        1,
        "personaagent: openai/gpt-4.1-mini: there is no API key: set OPENAI_API_KEY, or name another LM",
        "The provider's key is read from the environment, never from a file.",
    ),
    Mistake(
        "ask --user maya 'A film?' --lm opneai/gpt-4.1-mini",
        1,
        "personaagent: opneai/gpt-4.1-mini: no provider is called 'opneai': write PROVIDER/MODEL, such as "
        "openai/gpt-4.1-mini, or embedded; did you mean 'openai'?",
        "An LM is named as LiteLLM names it; one on a server of your own takes `--api-base URL`.",
    ),
    Mistake(
        "align",
        2,
        "personaagent: say whose personas to align: --user NAME, which can be repeated, or --all",
        "`--all` aligns every user who has an answer to learn from.",
    ),
    Mistake(
        "persona show --user maya",
        2,
        "personaagent: this user has no persona yet: run `personaagent align` or `personaagent ask` first",
        "The first persona is made when it is first needed.",
    ),
    Mistake(
        "ingest unclear.csv --user maya",
        2,
        "personaagent: unclear.csv: no column looks like the ground_truth: name it with --truth, one of 'question', "
        "'when'",
        "A persona is learnt from what the user really answered: one column must hold it.",
    ),
    Mistake(
        "ingest empty.csv --user maya",
        2,
        "personaagent: empty.csv: holds no interaction: write a table with a row for each, or a line of JSON with "
        "query, ground_truth and at",
        "The file has no row, or no header line.",
    ),
    Mistake(
        "ingest moods/ann.jsonl --user ann --task nolabels.json",
        2,
        'personaagent: nolabels.json: describes no task: labels: list two or more, as in "labels": ["calm", "tense"]',
        "A task of the kind `label` names its answers; free text needs no task at all.",
    ),
    Mistake(
        "evaluate moods --task moods --method majorty",
        2,
        "personaagent: unknown method 'majorty': use one of majority, ...; did you mean 'majority'?",
        "Methods are written `rag` or, with options, `rag:k=8`.",
    ),
    Mistake(
        "evaluate moods --task mood --method majority",
        2,
        "personaagent: unknown task 'mood': use one of moods, ...; did you mean 'moods'?",
        "The folder has a `task.json`: `--task` takes the name in it.",
    ),
    Mistake(
        "serve --port PORT",
        2,
        "personaagent: port PORT of 127.0.0.1: Address already in use: choose another with --port",
        "Another program listens there, perhaps a server that you started before.",
    ),
)


@pytest.fixture
def port() -> Iterator[str]:
    """A port at which something listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield str(listening.getsockname()[1])


@pytest.fixture
def beginner(personaagent: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The command line in a folder with some files, made up, and a home folder that knows Maya."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    Path("moods").mkdir()
    Path("moods/task.json").write_text(json.dumps({"name": "moods", "kind": "label", "labels": ["calm", "tense"]}))
    lines = [{"query": f"Day {day}?", "ground_truth": "calm", "at": f"2024-05-0{day}"} for day in (1, 2, 3)]
    Path("moods/ann.jsonl").write_text("\n".join(map(json.dumps, lines)))
    Path("nolabels.json").write_text(json.dumps({"name": "feelings", "kind": "label"}))
    Path("unclear.csv").write_text("question,when\nA film?,2024-05-01\n")
    Path("empty.csv").write_text("")
    Path("maya.jsonl").write_text(json.dumps({"query": "A film?", "ground_truth": "Slow.", "at": "2024-05-01"}))
    done(personaagent("ingest", "--user", "maya", "maya.jsonl"))
    return personaagent


@pytest.mark.parametrize(
    "mistake",
    [
        pytest.param(
            each, id=each.typed, marks=[pytest.mark.slow] if "opneai" in each.typed else []
        )  # LiteLLM's import
        for each in MISTAKES
    ],
)
def test_a_mistake_is_answered_with_one_line_that_says_what_to_do(
    beginner: CommandLine, port: str, mistake: Mistake
) -> None:
    finished = beginner(*shlex.split(mistake.typed.replace("PORT", port)))
    assert (finished.code, finished.out) == (mistake.code, "")
    *others, line = finished.err.splitlines()
    assert others == [] or others[0].startswith("Usage: ")
    pattern = ".*".join(map(re.escape, mistake.says.replace("PORT", port).split("...")))
    assert re.fullmatch(pattern, line), line


def test_the_page_shows_the_table() -> None:
    rows = [f"| `{each.typed}` | `` {each.says} `` | {each.means} |" for each in MISTAKES]
    shown = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert shown == rows
