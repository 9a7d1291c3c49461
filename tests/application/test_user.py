"""`personaagent user`: a user goes out as a file, comes back, and is erased."""

import io
import json
from pathlib import Path

import pytest

import personaagent

from .command_line import CommandLine, done

MAYA = "maya (made up)"
HISTORY = [
    {"id": f"i{number}", "query": f"A film {number}?", "ground_truth": "Something slow.", "at": f"2024-05-0{number}"}
    for number in (1, 2, 3)
]


@pytest.fixture
def maya(personaagent: CommandLine, tmp_path: Path) -> CommandLine:
    """The command line in a home folder where Maya is stored."""
    file = tmp_path / "maya.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in HISTORY), encoding="utf-8")
    done(personaagent("ingest", "--user", MAYA, file))
    return personaagent


def test_a_user_goes_out_to_a_file_and_comes_back_in_another_home(maya: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "maya.export"
    assert str(file) in done(maya("user", "export", MAYA, file)).out
    elsewhere = CommandLine(tmp_path / "elsewhere", maya.server)
    assert "3 interactions imported" in done(elsewhere("user", "import", file, "--user", "omar")).out
    known = done(elsewhere("memory", "list", "--user", "omar", "--json")).json
    assert known == done(maya("memory", "list", "--user", MAYA, "--json")).json
    assert len(known["interactions"]) == 3


def test_an_export_can_go_to_standard_output_and_come_from_standard_input(
    maya: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = done(maya("user", "export", MAYA, "-")).out
    file = tmp_path / "lines"
    file.write_text(exported, encoding="utf-8")
    assert json.loads(exported.splitlines()[0])["records"] == 3
    with file.open(encoding="utf-8") as lines:
        monkeypatch.setattr("sys.stdin", lines)
        assert "user omar: 3 interactions" in done(maya("user", "import", "-", "--user", "omar")).out


def test_erasing_prints_a_receipt(maya: CommandLine) -> None:
    receipt = done(maya("user", "erase", MAYA, "--yes", "--json")).json
    assert receipt["removed"]["interactions"] == 3
    assert receipt["left"] == []
    assert maya("memory", "list", "--user", MAYA).code == 2
    assert done(maya("user", "erase", MAYA, "--yes")).out == "nothing of this user was here\n"


def test_a_receipt_in_words_counts_what_was_there(maya: CommandLine) -> None:
    lines = done(maya("user", "erase", MAYA, "--yes")).out.splitlines()
    assert [line.split() for line in lines] == [["3", "interactions"], ["1", "users"], ["3", "episodes"]]


@pytest.mark.parametrize(("user", "question"), [(MAYA, "all that is known of"), ("myaa", "nothing is stored")])
def test_without_yes_it_asks_first(
    maya: CommandLine, monkeypatch: pytest.MonkeyPatch, user: str, question: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    asked = maya("user", "erase", user)
    assert asked.code == 1
    assert question in asked.err
    assert len(done(maya("memory", "list", "--user", MAYA, "--json")).json["interactions"]) == 3


def test_what_is_left_is_said_and_is_no_success(maya: CommandLine) -> None:
    away = CommandLine(maya.home, maya.server, {"PERSONAAGENT_TRACKING_URI": "http://127.0.0.1:9"})
    erased = away("user", "erase", MAYA, "--yes")
    assert erased.code == 1
    assert "left: prompt versions, runs and artifacts in MLflow" in erased.err
    assert maya("memory", "list", "--user", MAYA).code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("export", "nobody", "out"), "unknown user 'nobody'"),
        (("export", MAYA, "no/such/folder/out"), "no/such/folder/out: cannot be written"),
        (("import", "no such file"), "no such file: cannot be read"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    maya: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    failed = maya("user", *arguments)
    assert failed.code == 2
    assert message in failed.err
    assert failed.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_users_are_listed(maya: CommandLine) -> None:
    assert done(maya("user", "list", "--json")).json == [{"user": MAYA, "interactions": 3, "persona": None}]
    assert done(maya("user", "list")).out == f"{MAYA}  3 interactions  persona none\n"
    assert done(maya("--version")).out.strip() == personaagent.__version__
