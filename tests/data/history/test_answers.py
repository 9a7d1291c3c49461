"""What a history's answers are is told from the answers, so that ratings and labels come with probabilities."""

import json
from pathlib import Path

import pytest

from personaagent.data.history import read_history
from personaagent.data.history.answers import task_of
from personaagent.data.history.columns import Columns
from personaagent.data.task import OPEN, Task, known_tasks, register
from personaagent.home import Home
from personaagent.settings import Settings
from personaagent.testing import HashEmbedder

MADE_UP = {"query": "made-up thing", "ground_truth": "made-up answer"}
STARS = [{"query": f"made-up film {number}", "ground_truth": number % 5 + 1} for number in range(10)]


@pytest.mark.parametrize(
    ("answers", "kind", "labels"),
    [
        (["5", "4", "1", "2"] * 2, "rating", ("1", "2", "3", "4", "5")),
        (["5.0", "4", "1.0", "2"] * 2, "rating", ("1", "2", "3", "4", "5")),
        (["10", "9", "1", "2"] * 2, "label", ("1", "2", "9", "10")),
        (["4.5", "3", "0.5", "2"] * 2, "label", ("0.5", "2", "3", "4.5")),
        (["tense", "calm"] * 4, "text", ()),
        (["5", "1"] * 3, "text", ()),
        (["5"] * 9, "text", ()),
        ([str(number) for number in range(9)], "text", ()),
    ],
)
def test_ratings_and_other_numbers_are_told_from_text(answers: list[str], kind: str, labels: tuple[str, ...]) -> None:
    task = task_of(answers, MADE_UP)
    assert (task.kind, task.labels) == (kind, labels)


@pytest.mark.parametrize(
    ("answers", "labels"),
    [
        (["tense", "calm"] * 4, ("calm", "tense")),
        ([f"answer {number}" for number in range(9)], ()),
        (["a sentence that is much too long to be a label of anything", "calm"] * 4, ()),
    ],
)
def test_words_are_labels_if_that_is_wanted(answers: list[str], labels: tuple[str, ...]) -> None:
    assert task_of(answers, MADE_UP, words=True).labels == labels
    assert task_of(answers, MADE_UP) == OPEN


def test_columns_that_were_named_name_the_task_and_say_in_the_prompt_what_is_asked() -> None:
    told = task_of(["1", "5"] * 4, {"query": "Title", "ground_truth": "My rating"})
    assert told.name == "My rating of Title"
    assert told.query("A made-up film") == "Title: A made-up film\nMy rating?"


def test_labels_that_come_later_follow_those_that_are_known() -> None:
    mood = {"query": "Hour", "ground_truth": "Mood"}
    register(Task(name="Mood of Hour", kind="label", labels=("tense", "calm")))
    assert task_of(["wild", "calm"] * 4, mood, words=True).labels == ("tense", "calm", "wild")
    assert task_of(["tense", "calm"] * 4, mood, words=True) == known_tasks()["Mood of Hour"]


def test_what_was_told_is_said_and_every_interaction_is_of_that_task(tmp_path: Path) -> None:
    (tmp_path / "stars.json").write_text(json.dumps(STARS))
    history = read_history(tmp_path / "stars.json", user="maya")
    assert history.read_as == "the answers are ratings from 1 to 5 (task 'ratings')"
    assert {interaction.task for interaction in history.by_user["maya"]} == {"ratings"}


def test_a_task_that_is_named_is_not_told(tmp_path: Path) -> None:
    assert read_history(STARS, user="maya", task=OPEN).by_user["maya"][0].task == "open"
    named = [{**row, "task": "open"} for row in STARS]
    assert read_history(named, user="maya").task == OPEN


def test_a_home_keeps_the_task_that_was_told(tmp_path: Path) -> None:
    columns = Columns(query="Title", ground_truth="Stars")
    rows = [{"Title": row["query"], "Stars": row["ground_truth"]} for row in STARS]
    with Home(Settings(home=tmp_path), HashEmbedder()) as home:
        assert home.ingest(rows, user="maya", columns=columns) == len(rows)
        [task] = home.store.tasks()
        assert task.kind == "rating"
        assert home.agent(home.store.user("maya")).task == task
