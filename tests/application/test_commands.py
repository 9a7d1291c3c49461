"""Every command from end to end, as scripts call it, against a server that answers in the right form."""

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from personaagent.cli.demo import write_lamp_files
from personaagent.data.lamp import task_named
from personaagent.data.store import user_key

from ..loopback import Loopback
from .command_line import CommandLine, done

MAYA = "maya (made up)"
PAPER = ("--mode", "paper")
MOVIES = task_named("LaMP-2M")
OMAR = [
    {
        "id": "o1",
        "query": "A film for tonight?",
        "ground_truth": "Something slow.",
        "at": "2024-05-01",
        "mood": "tired",
    },
    {"id": "o2", "query": "And with friends?", "ground_truth": "A loud comedy.", "at": "2024-05-02T20:15:00Z"},
    {"id": "o3", "query": "On a train?", "ground_truth": "A short one.", "at": "2024-05-03"},
    {"id": "o4", "query": "With my mother?", "ground_truth": "A classic.", "at": "2024-05-04"},
]


def write_omar(file: Path) -> Path:
    file.write_text("".join(json.dumps(line) + "\n" for line in OMAR), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def lamp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made-up user's LaMP files, in a folder that bears its task's name."""
    return write_lamp_files(tmp_path_factory.mktemp("lamp") / "LaMP-2M")


class Aligned:
    """A home folder in which Maya was ingested, asked for and aligned."""

    def __init__(self, personaagent: CommandLine, lamp: Path) -> None:
        self.personaagent = personaagent
        self.ingested = done(personaagent("ingest", "--lamp", lamp, "--json")).json
        self.asked = done(personaagent("ask", "--user", MAYA, "A robot on the moon?", *personaagent.lm, "--json")).json
        self.aligned = done(personaagent("align", "--user", MAYA, *PAPER, "--n", "2", *personaagent.lm, "--json")).json

    @property
    def mlflow(self) -> MlflowClient:
        uri = f"sqlite:///{self.personaagent.home / 'mlflow.db'}"
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory, server: Loopback, lamp: Path) -> Aligned:
    return Aligned(CommandLine(tmp_path_factory.mktemp("aligned") / "home", server), lamp)


@pytest.fixture(scope="module")
def maya(aligned: Aligned) -> CommandLine:
    """The command line in the home folder where Maya is aligned; a test leaves it as it was."""
    return aligned.personaagent


def test_json_lines_are_ingested_once(personaagent: CommandLine, tmp_path: Path) -> None:
    file = write_omar(tmp_path / "omar.jsonl")
    assert done(personaagent("ingest", "--user", "omar", file, "--json")).json["stored"] == 4
    assert "0 new interactions of 1 user" in done(personaagent("ingest", "--user", "omar", file)).out
    [first, *_] = done(personaagent("memory", "list", "--user", "omar", "--json")).json["interactions"]
    assert (first["interaction_id"], first["query"]) == ("o1", "A film for tonight?")
    assert (first["ground_truth"], first["metadata"]) == ("Something slow.", {"mood": "tired"})


def test_a_lamp_folder_is_ingested_under_the_task_that_names_it(aligned: Aligned, maya: CommandLine) -> None:
    assert aligned.ingested == {"users": 1, "stored": 24}
    interactions = done(maya("memory", "list", "--user", MAYA, "--json")).json["interactions"]
    assert len(interactions) == 24
    assert {interaction["task"] for interaction in interactions} == {"LaMP-2M"}


def test_the_task_of_a_lamp_folder_can_be_said(personaagent: CommandLine, tmp_path: Path) -> None:
    folder = write_lamp_files(tmp_path / "films")
    stored = done(personaagent("ingest", "--lamp", folder, "--task", "LaMP-2M", "--users", "1", "--json")).json
    assert stored == {"users": 1, "stored": 24}


def test_a_task_of_your_own_is_stored_with_its_file_and_later_said_by_its_name(
    personaagent: CommandLine, tmp_path: Path
) -> None:
    task, first, second = tmp_path / "task.json", tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    task.write_text(json.dumps({"name": "evening moods", "kind": "label", "labels": ["calm", "tense"]}))
    for file, day, mood in ((first, 1, "calm"), (second, 2, "tense")):
        file.write_text(json.dumps({"query": f"Day {day}?", "ground_truth": mood, "at": f"2024-05-0{day}"}))
    done(personaagent("ingest", "--user", "omar", first, "--task", task))
    done(personaagent("ingest", "--user", "omar", second, "--task", "evening moods"))
    listed = done(personaagent.in_a_process("memory", "list", "--user", "omar", "--json")).json
    assert {interaction["task"] for interaction in listed["interactions"]} == {"evening moods"}
    [counts] = listed["statements"]
    assert counts["text"].startswith("Of 2 questions of task evening moods the user answered")


def test_ratings_of_a_table_are_told_and_asked_for_and_text_if_it_is_wanted(
    personaagent: CommandLine, tmp_path: Path
) -> None:
    stars = "".join(f"made-up film {number},{number % 5 + 1}\n" for number in range(10))
    (tmp_path / "stars.csv").write_text(f"Title,My rating\n{stars}", encoding="utf-8")
    named = ("--query", "Title", "--truth", "My rating")
    told = done(personaagent("ingest", tmp_path / "stars.csv", "--user", "lea", *named))
    assert "the answers are ratings from 1 to 5 (task 'My rating of Title')" in told.err
    rated = done(personaagent("ask", "--user", "lea", "Another film?", *personaagent.lm, "--json")).json
    assert rated["task"] == "My rating of Title" and set(rated["probabilities"]) == {"1", "2", "3", "4", "5"}
    asked = done(personaagent("ask", "--user", "lea", "A film?", "--task", "open", *personaagent.lm, "--json")).json
    assert asked["task"] == "open" and asked["probabilities"] is None


def test_words_are_labels_with_an_option_that_is_hinted_at(personaagent: CommandLine, tmp_path: Path) -> None:
    moods = "".join(f"made-up hour {number},{('calm', 'tense')[number % 2]}\n" for number in range(10))
    (tmp_path / "moods.csv").write_text(f"Hour,Mood\n{moods}", encoding="utf-8")
    named = ("--query", "Hour", "--truth", "Mood")
    hinted = done(personaagent("ingest", tmp_path / "moods.csv", "--user", "ada", *named))
    assert "the answers are 2 different ones; with --labels every answer is one of them" in hinted.err
    told = done(personaagent("ingest", tmp_path / "moods.csv", "--user", "bo", *named, "--labels"))
    assert "the answers are 2 labels (task 'Mood of Hour')" in told.err


def test_a_line_that_does_not_fit_the_task_stores_neither(personaagent: CommandLine, tmp_path: Path) -> None:
    task, file = tmp_path / "task.json", tmp_path / "omar.jsonl"
    task.write_text(json.dumps({"name": "mistaken moods", "kind": "label", "labels": ["calm", "tense"]}))
    file.write_text(json.dumps({"query": "Day 1?", "ground_truth": "cheerful", "at": "2024-05-01"}))
    refused = personaagent("ingest", "--user", "omar", file, "--task", task)
    assert refused.code == 2 and "cheerful" in refused.err
    unknown = personaagent.in_a_process("ingest", "--user", "omar", file, "--task", "mistaken moods")
    assert "unknown task 'mistaken moods'" in unknown.err


@pytest.mark.live
def test_which_embedder_to_choose_is_said_once_for_a_script_that_this_one_does_not_know(
    personaagent: CommandLine, tmp_path: Path
) -> None:
    by_meaning = CommandLine(personaagent.home, personaagent.server, {"PERSONAAGENT_EMBEDDER": "minilm"})
    thai, english = tmp_path / "thai.jsonl", tmp_path / "english.jsonl"
    for file, words in ((thai, ("ร้านชาใกล้สวน", "รถไฟไปทะเล")), (english, ("A quiet café?", "A train?"))):
        lines = ({"query": each, "ground_truth": "yes", "at": "2024-05-01"} for each in words)
        file.write_text("\n".join(map(json.dumps, lines)))
    advice = "PERSONAAGENT_EMBEDDER=openai/text-embedding-3-small"
    assert done(by_meaning("ingest", "--user", "omar", thai)).err.count(advice) == 1
    assert advice not in done(by_meaning("ingest", "--user", "omar", thai)).err  # Nothing of it was new.
    assert advice not in done(by_meaning("ingest", "--user", "maya", english)).err


def test_an_answer_comes_with_what_it_stands_on(aligned: Aligned) -> None:
    assert aligned.asked["response"] in MOVIES.labels
    assert sum(aligned.asked["probabilities"].values()) == pytest.approx(1.0)
    assert aligned.asked["persona_version"] == 1
    assert aligned.asked["episodes"]
    assert aligned.asked["spend"]["calls"] == 1


def test_an_answer_alone_is_one_line(maya: CommandLine) -> None:
    answered = done(maya("ask", "--user", MAYA, "A robot on the moon?", *maya.lm)).out
    assert answered.strip() in MOVIES.labels
    assert answered.count("\n") == 1


def test_the_server_can_be_named_by_variables(maya: CommandLine) -> None:
    variables = {"PERSONAAGENT_LM": "openai/another", "PERSONAAGENT_API_BASE": maya.server.url}
    by_variables = CommandLine(maya.home, maya.server, variables)
    done(by_variables("ask", "--user", MAYA, "A robot on the moon?"))
    assert maya.server.received[-1]["model"] == "another"


def test_an_alignment_is_recorded_with_its_losses(aligned: Aligned) -> None:
    alignment = aligned.aligned["alignment"]
    [iteration] = alignment["iterations"]
    assert [loss["critique"] for loss in iteration["losses"]] == ["made-up critique"] * 2
    assert alignment["spend"]["calls"] >= 5
    [version] = aligned.aligned["versions"]
    assert version["status"] == "live"
    assert version["number"] == version["parent"] + 1


def test_mlflow_shows_every_version_and_which_is_live(aligned: Aligned, maya: CommandLine) -> None:
    name = f"persona.{user_key(MAYA)}"
    [live] = [version for version in versions(maya) if version["status"] == "live"]
    assert len(aligned.mlflow.search_prompt_versions(name)) == len(versions(maya)) >= 2
    mirrored = aligned.mlflow.get_prompt_version_by_alias(name, "live")
    assert mirrored is not None
    assert mirrored.tags["persona_version"] == str(live["number"])


def versions(personaagent: CommandLine) -> list[dict[str, Any]]:
    return done(personaagent("persona", "list", "--user", MAYA, "--json")).json


def test_versions_are_listed(maya: CommandLine) -> None:
    recorded = versions(maya)
    assert [version["number"] for version in recorded] == list(range(1, len(recorded) + 1))
    assert {version["user"] for version in recorded} == {MAYA}
    lines = done(maya("persona", "list", "--user", MAYA)).out.splitlines()
    assert len(lines) == len(recorded)
    assert "live" in lines[-1]


def test_without_a_user_the_live_version_of_each_is_listed(maya: CommandLine) -> None:
    [line] = done(maya("persona", "list")).out.splitlines()
    assert line.startswith(MAYA)


def test_a_persona_is_shown_as_the_lm_gets_it(maya: CommandLine) -> None:
    shown = done(maya("persona", "show", "--user", MAYA)).out
    as_json = done(maya("persona", "show", "--user", MAYA, "--json")).json
    assert shown.strip() == as_json["text"].strip()
    assert "made-up profile" in shown
    assert "made-up profile" not in done(maya("persona", "show", "--user", MAYA, "--version", "1")).out


def test_a_diff_shows_what_came(maya: CommandLine) -> None:
    changed = done(maya("persona", "diff", "--user", MAYA)).out
    assert any(line.startswith("+") and "made-up profile" in line for line in changed.splitlines())
    last = str(len(versions(maya)))
    back = done(maya("persona", "diff", "--user", MAYA, "--from", last, "--to", "1")).out
    assert any(line.startswith("-") and "made-up profile" in line for line in back.splitlines())


def test_a_rollback_makes_the_parent_live_again_and_the_mirror_follows(aligned: Aligned, maya: CommandLine) -> None:
    before = versions(maya)
    last, parent = before[-1]["number"], before[-1]["parent"]
    assert f"v{parent} is live" in done(maya("persona", "rollback", "--user", MAYA)).out
    assert [version["number"] for version in versions(maya) if version["status"] == "live"] == [parent]
    mirrored = aligned.mlflow.get_prompt_version_by_alias(f"persona.{user_key(MAYA)}", "live")
    assert mirrored is not None
    assert mirrored.tags["persona_version"] == str(parent)
    assert f"v{last} is live" in done(maya("persona", "rollback", "--user", MAYA, "--to", str(last))).out
    assert [version["number"] for version in versions(maya)] == [version["number"] for version in before]


def test_there_is_nothing_to_sync_after_an_alignment(maya: CommandLine) -> None:
    assert "mirrored 0 version(s) of 1 user(s)" in done(maya("persona", "sync", "--user", MAYA)).out


def test_without_mlflow_alignment_succeeds_and_is_mirrored_later(
    personaagent: CommandLine, aligned: Aligned, tmp_path: Path
) -> None:
    offline = CommandLine(
        personaagent.home,
        personaagent.server,
        {"PERSONAAGENT_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"},
    )
    done(offline("ingest", "--user", "omar", write_omar(tmp_path / "omar.jsonl")))
    finished = done(offline("align", "--user", "omar", *PAPER, "--n", "2", *offline.lm))
    assert "persona v2 is live" in finished.out
    assert len(finished.err.splitlines()) == 1
    assert "persona sync" in finished.err

    uri = f"sqlite:///{aligned.personaagent.home / 'mlflow.db'}"
    online = CommandLine(personaagent.home, personaagent.server, {"PERSONAAGENT_TRACKING_URI": uri})
    assert "mirrored 2 version(s) of 1 user(s)" in done(online("persona", "sync")).out
    assert len(aligned.mlflow.search_prompt_versions(f"persona.{user_key('omar')}")) == 2


def test_memory_is_searched_by_likeness(maya: CommandLine) -> None:
    found = done(maya("memory", "search", "--user", MAYA, "love letters", "--k", "2", "--json")).json
    assert len(found) == 2
    assert found[0]["similarity"] >= found[1]["similarity"]
    assert "love letters" in found[0]["interaction"]["query"]
    assert "love letters" in done(maya("memory", "search", "--user", MAYA, "love letters", "--k", "1")).out


def test_memory_is_listed_oldest_first_with_statements(maya: CommandLine) -> None:
    listed = done(maya("memory", "list", "--user", MAYA)).out.splitlines()
    dates = [line.split("  ")[1] for line in listed if not line.startswith("*")]
    assert len(dates) == 24
    assert dates == sorted(dates)
    assert any(line.startswith("*") for line in listed)


def test_what_is_forgotten_is_neither_listed_nor_found(personaagent: CommandLine, tmp_path: Path) -> None:
    done(personaagent("ingest", "--user", "omar", write_omar(tmp_path / "omar.jsonl")))
    assert "forgot o2" in done(personaagent("memory", "forget", "--user", "omar", "o2")).out
    listed = done(personaagent("memory", "list", "--user", "omar", "--json")).json
    assert [interaction["interaction_id"] for interaction in listed["interactions"]] == ["o1", "o3", "o4"]
    found = done(personaagent("memory", "search", "--user", "omar", "And with friends?", "--json")).json
    assert "o2" not in {episode["interaction"]["interaction_id"] for episode in found}


def test_a_rebuilt_index_finds_what_the_old_one_found(personaagent: CommandLine, tmp_path: Path) -> None:
    done(personaagent("ingest", "--user", "omar", write_omar(tmp_path / "omar.jsonl")))
    before = done(personaagent("memory", "search", "--user", "omar", "train", "--json")).json
    assert "of 1 user(s)" in done(personaagent("memory", "rebuild")).out
    assert "of 1 user(s)" in done(personaagent("memory", "rebuild", "--user", "omar")).out
    assert done(personaagent("memory", "search", "--user", "omar", "train", "--json")).json == before


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, server: Loopback, lamp: Path) -> dict[str, Any]:
    personaagent = CommandLine(tmp_path_factory.mktemp("evaluated") / "home", server)
    methods = [part for name in ("majority", "prompt", "rag", "personaagent") for part in ("--method", name)]
    folder = ("--out", personaagent.home / "kept")
    return done(
        personaagent(
            "evaluate", lamp, "--task", "LaMP-2M", *methods, *folder, "--questions", "3", "--json", *personaagent.lm
        )
    ).json


def test_an_evaluation_has_every_total_of_every_method(evaluated: dict[str, Any]) -> None:
    assert set(evaluated["methods"]) == {"majority", "prompt", "rag", "personaagent"}
    for name, totals in evaluated["methods"].items():
        assert (totals["n"], totals["scored"], totals["failed"], totals["unparsed"]) == (3, 3, 0, 0), name
        assert 0 <= totals["accuracy"] <= 1
        assert 0 <= totals["macro_f1"] <= 1
        assert totals["per_user"]
        assert totals["seconds"] >= 0
        assert (totals["calls"] > 0) == (totals["prompt_tokens"] > 0) == (totals["completion_tokens"] > 0)
    calls = {name: totals["calls"] for name, totals in evaluated["methods"].items()}
    assert calls["majority"] == 0
    assert calls["prompt"] == calls["rag"] == 3 < calls["personaagent"]


def test_the_rows_of_an_evaluation_are_kept(evaluated: dict[str, Any]) -> None:
    rows = [json.loads(line) for line in Path(evaluated["rows"]).read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 4 * 3
    assert {row["status"] for row in rows} == {"scored"}
    assert MAYA not in Path(evaluated["rows"]).read_text(encoding="utf-8"), "rows hold the user's key, not the id"


def test_the_protocol_of_an_evaluation_names_its_lms_as_they_were_written(evaluated: dict[str, Any]) -> None:
    protocol = json.loads(Path(evaluated["rows"]).with_name("protocol.json").read_text(encoding="utf-8"))
    assert set(protocol["lms"].values()) == {"openai/made-up"}


def test_majority_asks_no_lm_and_needs_no_server(personaagent: CommandLine, lamp: Path) -> None:
    asked = len(personaagent.server.received)
    finished = done(personaagent("evaluate", lamp, "--task", "LaMP-2M", "--method", "majority"))
    assert "majority" in finished.out
    assert "rows.jsonl" in finished.out
    assert len(personaagent.server.received) == asked
    assert list((personaagent.home / "evaluations").glob("*/rows.jsonl"))


def test_models_are_listed(personaagent: CommandLine) -> None:
    listed = {model["name"]: model for model in done(personaagent("models", "list", "--json")).json}
    assert {"qwen2.5-coder-1.5b", "minilm"} <= set(listed)
    assert {"role", "bytes", "licence", "on_disk", "paths"} <= set(listed["minilm"])
    assert "minilm" in done(personaagent("models", "list")).out


@pytest.mark.slow
def test_the_demo_goes_from_history_to_answers(personaagent: CommandLine) -> None:
    before = len(personaagent.server.received)
    shown = done(personaagent("demo", *personaagent.lm, "--json")).json
    assert len(shown["answers"]) == 3
    assert {"lm", "habits", "memory", "response", "gold"} <= shown["answers"][0].keys()
    assert len(shown["alignment"]["simulations"]) == 2
    assert len(personaagent.server.received) - before == shown["spend"]["calls"] + shown["alignment"]["spend"]["calls"]
    assert "prove nothing" in shown["reading"]
    assert Path(shown["tracking_uri"].removeprefix("sqlite:///")).is_file()
