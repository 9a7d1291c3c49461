"""Bad input gets one line that says what is wrong and where, exit code 2, and nothing is stored."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from personaagent.cli.demo import write_lamp_files
from personaagent.data.errors import UnknownUserError
from personaagent.data.store import Store
from personaagent.lms.models import MODELS

from .command_line import CommandLine, Finished

LINE = {"query": "A film for tonight?", "ground_truth": "Something slow.", "at": "2024-05-01"}
NO_SERVER = "http://127.0.0.1:9/v1"


def said(finished: Finished, code: int = 2) -> str:
    """Return the one line on standard error of a command that ended with this exit code."""
    assert finished.code == code, finished
    [line] = finished.err.splitlines()
    assert line.startswith("personaagent: ")
    assert finished.out == ""
    return line


def stored_users(home: Path) -> list[str]:
    if not (home / "store.db").exists():
        return []
    with Store.open(home / "store.db") as store:
        return [user.user_id for user in store.users()]


def jsonl(*lines: object) -> str:
    return "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (jsonl(LINE, '{"query": '), ["line 2", "malformed JSON"]),
        (jsonl(LINE, "[]"), ["line 2", "expected an object"]),
        (jsonl({**LINE, "id": "1"}, {**LINE, "id": "1"}), ["line 2", "'id'", "line 1"]),
        (jsonl({**LINE, "task": "LaMP-2M"}), ["line 1", "'ground_truth'", "labels"]),
        (jsonl({**LINE, "task": "LaMP-99"}), ["line 1", "'task'", "LaMP-99"]),
        ("\n", ["holds no interaction"]),
        ("", ["holds no interaction"]),
        (jsonl(LINE, {key: LINE[key] for key in ("query", "ground_truth")}), ["line 2", "'at'", "missing"]),
        (jsonl({**LINE, "at": "yesterday"}), ["line 1", "'at'", "yesterday"]),
        (jsonl({**LINE, "query": "x" * 10_000_000}), ["line 1", "'query'", "10,000,000"]),
        (jsonl({**LINE, "query": "x\0"}), ["line 1", "'query'", "unprintable"]),
        (jsonl({**LINE, "ground_truth": "\x1b[2J"}), ["line 1", "'ground_truth'", "unprintable"]),
        (jsonl({**LINE, "ground_truth": True}), ["line 1", "'ground_truth'", "expected a text"]),
        (jsonl({**LINE, "mood": "\x07"}), ["line 1", "'mood'", "unprintable"]),
    ],
)
def test_a_wrong_line_is_named_and_no_line_is_stored(
    personaagent: CommandLine, tmp_path: Path, content: str, named: list[str]
) -> None:
    file = tmp_path / "omar.jsonl"
    file.write_text(content, encoding="utf-8")
    line = said(personaagent("ingest", "--user", "omar", file))
    assert [part for part in [str(file), *named] if part not in line] == []
    assert stored_users(personaagent.home) == []


def test_a_file_that_is_not_there_is_named(personaagent: CommandLine, tmp_path: Path) -> None:
    assert str(tmp_path / "none.jsonl") in said(personaagent("ingest", "--user", "omar", tmp_path / "none.jsonl"))
    assert "questions.json" in said(personaagent("ingest", "--lamp", tmp_path, "--task", "LaMP-2M"))


@pytest.mark.parametrize("user", ["", "a\0b", "a\nb", "x" * 10_000])
def test_a_user_id_that_cannot_be_one_is_refused(personaagent: CommandLine, tmp_path: Path, user: str) -> None:
    file = tmp_path / "omar.jsonl"
    file.write_text(jsonl(LINE), encoding="utf-8")
    assert "user id" in said(personaagent("ingest", "--user", user, file))
    assert stored_users(personaagent.home) == []


@pytest.mark.parametrize("given", [[], ["--user", "omar"], ["--user", "omar", "x.jsonl", "--lamp", "y"]])
def test_ingest_says_what_it_takes(personaagent: CommandLine, given: list[str]) -> None:
    assert "--user U FILE or --lamp DIR" in said(personaagent("ingest", *given))


def test_a_guessed_column_stores_nothing_until_it_is_confirmed(personaagent: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "omar.csv"
    file.write_text("Question,My answer,Date\nLunch?,Soup.,2024-05-01\n", encoding="utf-8")
    assert "name it with --truth, one of 'Question', 'My answer', 'Date'" in said(
        personaagent("ingest", "--user", "omar", file)
    )
    refused = personaagent("ingest", "--user", "omar", file, "--truth", "My answer").err
    assert "add --query Question --truth 'My answer' --at Date if that is so, or --yes" in refused
    assert stored_users(personaagent.home) == []
    stored = personaagent("ingest", "--user", "omar", file, "--truth", "My answer", "--yes", "--json")
    assert stored.json["stored"] == 1
    assert "query is 'Question' (guessed), ground_truth is 'My answer', at is 'Date' (guessed)" in stored.err


Change = Callable[[list[dict[str, Any]], dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda asked, _: asked[0].pop("profile"), ["questions.json", "question 100", "'profile'", "missing"]),
        (lambda asked, _: [each.update(profile=[]) for each in asked], ["questions.json", "'profile'", "empty"]),
        (lambda asked, _: asked.clear(), ["questions.json", "empty"]),
        (lambda asked, _: asked[1].update(id="100"), ["questions.json", "'id'", "'100'"]),
        (lambda asked, _: asked[0]["profile"][1].update(id="10"), ["question 100, profile item 2", "'id'", "'10'"]),
        (lambda asked, _: asked[0]["profile"][1].pop("date"), ["question 100, profile item 2", "'date'", "missing"]),
        (lambda asked, _: asked[0]["profile"][1].update(tag="bad"), ["question 100, profile item 2", "'tag'", "'bad'"]),
        (lambda asked, _: asked[0]["profile"][1].update(description="\0"), ["profile item 2", "'description'"]),
        (lambda _, golds: golds["golds"].pop(), ["outputs.json", "does not match", "102"]),
        (lambda _, golds: golds["golds"][0].update(id="7"), ["outputs.json", "does not match", "'100'", "'7'"]),
        (lambda _, golds: golds["golds"][0].update(output="bad"), ["outputs.json", "gold 100", "'output'", "'bad'"]),
    ],
)
def test_wrong_lamp_files_are_named_and_no_user_is_stored(
    personaagent: CommandLine, tmp_path: Path, change: Change, named: list[str]
) -> None:
    folder = write_lamp_files(tmp_path / "LaMP-2M")
    questions = json.loads((folder / "questions.json").read_text(encoding="utf-8"))
    golds = json.loads((folder / "outputs.json").read_text(encoding="utf-8"))
    questions[1:] = [{**question, "profile": questions[0]["profile"]} for question in questions[1:]]
    change(questions, golds)
    (folder / "questions.json").write_text(json.dumps(questions), encoding="utf-8")
    (folder / "outputs.json").write_text(json.dumps(golds), encoding="utf-8")
    for command in (
        ("ingest", "--lamp", folder),
        ("evaluate", folder, "--task", "LaMP-2M", "--method", "majority"),
    ):
        line = said(personaagent(*command))
        assert [part for part in named if part not in line] == []
    assert stored_users(personaagent.home) == []
    assert not (personaagent.home / "evaluations").exists()


def test_malformed_json_is_named_with_its_place(personaagent: CommandLine, tmp_path: Path) -> None:
    folder = write_lamp_files(tmp_path / "LaMP-2M")
    (folder / "questions.json").write_text('[{"id": "1",\n', encoding="utf-8")
    line = said(personaagent("ingest", "--lamp", folder))
    assert "questions.json" in line
    assert "malformed JSON" in line


@pytest.mark.parametrize(
    "command",
    [
        ["ask", "--user", "nobody", "A film?", "--lm", "openai/made-up", "--api-base", NO_SERVER],
        ["align", "--user", "nobody", "--lm", "openai/made-up", "--api-base", NO_SERVER],
        ["persona", "list", "--user", "nobody"],
        ["persona", "show", "--user", "nobody"],
        ["persona", "diff", "--user", "nobody"],
        ["persona", "rollback", "--user", "nobody"],
        ["persona", "sync", "--user", "nobody"],
        ["memory", "search", "--user", "nobody", "film"],
        ["memory", "list", "--user", "nobody"],
        ["memory", "forget", "--user", "nobody", "1"],
        ["memory", "rebuild", "--user", "nobody"],
    ],
    ids=" ".join,
)
def test_an_unknown_user_is_named(personaagent: CommandLine, command: list[str]) -> None:
    assert "unknown user 'nobody'" in said(personaagent(*command))
    assert stored_users(personaagent.home) == []


def test_unknown_names_are_answered_with_those_that_exist(personaagent: CommandLine, tmp_path: Path) -> None:
    folder = write_lamp_files(tmp_path / "films")
    evaluate = ("evaluate", folder, "--task")
    unknown_task = "unknown task 'LaMP-99': use one of open, LaMP-1, "
    assert unknown_task in said(personaagent(*evaluate, "LaMP-99", "--method", "majority"))
    assert unknown_task in said(personaagent("ingest", "--lamp", folder, "--task", "LaMP-99"))
    assert unknown_task in said(personaagent("data", "fetch", "LaMP-99"))
    assert "unknown task 'films'" in said(personaagent("ingest", "--lamp", folder))
    assert "unknown method 'guess': use one of majority" in said(
        personaagent(*evaluate, "LaMP-2M", "--method", "guess")
    )
    assert "unknown model 'gpt'" in said(personaagent("models", "fetch", "gpt"))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["data", "fetch", "lamp-2m"], "LaMP-2M"),
        (["models", "fetch", "qwen-coder-1.5b"], "qwen2.5-coder-1.5b"),
        (["algn"], "align"),
        (["memory", "serach"], "search"),
        (["ask", "--usr", "omar"], "Possible options: --run, --user"),
    ],
    ids=" ".join,
)
def test_a_misspelt_name_is_answered_with_the_nearest(personaagent: CommandLine, typed: list[str], meant: str) -> None:
    refused = personaagent(*typed)
    assert refused.code == 2
    assert meant in refused.err.splitlines()[-1].rpartition("id you mean")[2]


def test_what_a_user_does_not_have_is_said(personaagent: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "omar.jsonl"
    file.write_text(jsonl(LINE), encoding="utf-8")
    assert personaagent("ingest", "--user", "omar", file).code == 0
    assert "no interaction 'x'" in said(personaagent("memory", "forget", "--user", "omar", "x"))
    for verb in ("show", "diff", "rollback"):
        assert "no persona yet" in said(personaagent("persona", verb, "--user", "omar"))
    assert "'7'" in said(personaagent("persona", "show", "--user", "omar", "--version", "7"))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--lm", "embedded/gpt"], "unknown embedded LM 'gpt'"),
        (["--lm", "openai/made-up", "--api-base", "not a url"], "not a URL"),
        (["--lm", "openai/made-up", "--api-base", "http://me:hunter2@127.0.0.1/v1"], "holds credentials"),
    ],
)
def test_an_lm_that_cannot_be_is_refused(
    personaagent: CommandLine, tmp_path: Path, options: list[str], named: str
) -> None:
    file = tmp_path / "omar.jsonl"
    file.write_text(jsonl(LINE), encoding="utf-8")
    assert personaagent("ingest", "--user", "omar", file).code == 0
    line = said(personaagent("ask", "--user", "omar", "A film?", *options))
    assert named in line
    assert "hunter2" not in line


@pytest.fixture
def locked(personaagent: CommandLine) -> Iterator[CommandLine]:
    """The command line in a home folder that another process has open."""
    personaagent.home.mkdir()
    program = "import sys, filelock\nwith filelock.FileLock(sys.argv[1]):\n  print('held', flush=True)\n  input()"
    command = [sys.executable, "-c", program, str(personaagent.home / "home.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield personaagent
        holder.communicate("\n")


@pytest.mark.slow
def test_a_home_folder_that_another_process_has_open_is_named_where_a_command_needs_it_alone(
    locked: CommandLine,
) -> None:
    for finished in (locked("memory", "rebuild"), locked.in_a_process("serve")):
        line = said(finished)
        assert str(locked.home) in line
        assert "another process" in line


@pytest.mark.parametrize("size", [1000, MODELS["minilm"].files[0].size], ids=["wrong size", "wrong hash"])
def test_a_wrong_model_file_is_named(personaagent: CommandLine, tmp_path: Path, size: int) -> None:
    models = tmp_path / "models"
    models.mkdir()
    for model, files in (("minilm", MODELS["minilm"].files), ("smollm2", MODELS["smollm2"].files)):
        for file in files:
            with (models / file.name).open("wb") as hollow:
                hollow.truncate(size if model == "minilm" else file.size if size > 1000 else 1000)
    file = tmp_path / "omar.jsonl"
    file.write_text(jsonl(LINE), encoding="utf-8")
    assert personaagent("ingest", "--user", "omar", file).code == 0

    wrong = CommandLine(personaagent.home, personaagent.server, {"PERSONAAGENT_MODELS": str(models)})
    line = said(wrong("ask", "--user", "omar", "A film?", "--lm", "embedded/smollm2"))
    assert str(models / MODELS["smollm2"].files[0].name) in line
    assert "personaagent models fetch smollm2" in line

    variables = {**wrong.variables, "PERSONAAGENT_EMBEDDER": "minilm"}
    wrong = CommandLine(personaagent.home, personaagent.server, variables)
    line = said(wrong("memory", "search", "--user", "omar", "A film?"))
    assert str(models / MODELS["minilm"].files[0].name) in line
    assert "personaagent models fetch" in line


def test_a_server_that_is_down_is_a_failure_and_no_persona_is_recorded(
    personaagent: CommandLine, tmp_path: Path
) -> None:
    folder = write_lamp_files(tmp_path / "LaMP-2M")
    assert personaagent("ingest", "--lamp", folder).code == 0
    down = ("--lm", "openai/made-up", "--api-base", NO_SERVER)
    failed = personaagent("align", "--user", "maya (made up)", "--n", "1", *down)
    assert "check that the server is up" in said(failed, code=1)
    recorded = personaagent("persona", "list", "--user", "maya (made up)", "--json").json
    assert [version["number"] for version in recorded] == [1], "the first persona asks no LM"


@pytest.mark.parametrize(
    "command",
    [["sing"], ["align"], ["align", "--user", "u", "--n", "0"], ["align", "--user", "u", "--mode", "fast"]],
    ids=" ".join,
)
def test_wrong_usage_is_code_2_without_a_traceback(personaagent: CommandLine, command: list[str]) -> None:
    finished = personaagent(*command)
    assert finished.code == 2
    assert finished.err
    assert "Traceback" not in finished.err


@pytest.mark.slow
def test_a_process_of_its_own_says_the_same(personaagent: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "omar.jsonl"
    file.write_text(jsonl({**LINE, "at": "yesterday"}), encoding="utf-8")
    line = said(personaagent.in_a_process("ingest", "--user", "omar", file))
    assert "line 1, field 'at'" in line
    assert "unknown user 'nobody'" in said(personaagent.in_a_process("memory", "list", "--user", "nobody"))
    assert stored_users(personaagent.home) == []


def test_a_traceback_is_shown_only_on_request(personaagent: CommandLine) -> None:
    with pytest.raises(UnknownUserError):
        personaagent("--debug", "memory", "list", "--user", "nobody")
    said(personaagent("memory", "list", "--user", "nobody"))
