"""The registry of tasks, and the store that keeps those of your own."""

import subprocess
import sys
from pathlib import Path

import pytest

from personaagent.data.errors import InputError, UnknownNameError
from personaagent.data.interaction import Interaction
from personaagent.data.lamp import TASKS
from personaagent.data.memory.chroma_index import EpisodeIndex
from personaagent.data.store import Store
from personaagent.data.task import (
    RATINGS,
    Task,
    is_built_in,
    known_tasks,
    read_task,
    register,
    task_named,
    task_or_open,
)
from personaagent.testing import HashEmbedder

TEAS = Task(name="teas", kind="label", labels=("green", "black"), template="Which tea suits this hour? {content}")
STEEPING = Task(name="steeping", kind="rating", labels=("1", "2", "3", "4", "5"))


def test_open_questions_are_a_task_too() -> None:
    assert task_named("open").kind == "text"


def test_an_unknown_name_shows_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown task 'LaMP-2': use one of open, LaMP-1, LaMP-2M, "):
        task_named("LaMP-2")


def test_lamps_tasks_are_known_to_a_process_that_names_none_of_them() -> None:
    code = "from personaagent.data.task import task_named; print(task_named('LaMP-3').kind)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "rating\n"


def test_a_registered_task_is_known_by_its_name() -> None:
    register(STEEPING)
    assert task_named("steeping") == known_tasks()["steeping"] == STEEPING
    assert not is_built_in("steeping")


def test_a_task_that_is_registered_again_replaces_the_older() -> None:
    register(Task(name="cups", kind="label", labels=("one", "two")))
    more = Task(name="cups", kind="label", labels=("one", "two", "three"))
    register(more)
    assert task_named("cups") == more


def test_the_name_of_a_task_of_the_package_cannot_be_given_to_another() -> None:
    with pytest.raises(InputError, match=r"'LaMP-3' is the name of a task that the package defines.*another name"):
        register(Task(name="LaMP-3", kind="text"))
    register(TASKS["LaMP-3"])
    assert task_named("LaMP-3") == TASKS["LaMP-3"]


def test_no_task_can_have_the_name_under_which_statements_of_users_are_stored() -> None:
    with pytest.raises(InputError, match="give your task another name"):
        register(Task(name="said", kind="text"))


def test_the_query_of_a_task_that_is_not_known_is_taken_as_it_is() -> None:
    assert task_or_open("nothing of this name").content("Pick one: a or b") == "Pick one: a or b"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"task\.json: cannot be read"):
        read_task(tmp_path / "task.json")


def test_a_store_keeps_its_tasks_and_knows_them_when_it_is_opened_again(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store.db") as store:
        store.add_task(TEAS)
        store.add_task(TEAS.model_copy(update={"labels": ("green", "black", "white")}))
    register(TEAS)  # As if another store of this process had it so.
    with Store.open(tmp_path / "store.db") as store:
        assert [task.labels for task in store.tasks()] == [("green", "black", "white")]
        assert task_named("teas").labels == ("green", "black", "white")


def test_a_store_refuses_the_name_of_a_task_of_the_package_and_keeps_nothing(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store.db") as store:
        with pytest.raises(InputError, match="another name"):
            store.add_task(Task(name="open", kind="rating"))
        assert store.tasks() == ()


def test_answers_to_a_task_of_your_own_are_counted_in_semantic_memory() -> None:
    with EpisodeIndex(None, HashEmbedder()) as index, Store.open("sqlite://", index=index) as store:
        store.add_task(TEAS)
        maya = store.add_user("maya")
        maya.interactions.add([asked(hour, tea) for hour, tea in (("dawn", "green"), ("noon", "black"))])
        [counts] = maya.memory.statements()
    assert counts.text.startswith('Of 2 questions of task teas the user answered "green" 1 time (50%), "black" 1 time')


def test_a_task_that_is_added_after_its_interactions_takes_its_words_out_of_what_is_embedded() -> None:
    late = TEAS.model_copy(update={"name": "late teas"})
    with EpisodeIndex(None, HashEmbedder()) as index, Store.open("sqlite://", index=index) as store:
        maya = store.add_user("maya")
        maya.interactions.add([asked("dawn", "green", late)])
        [before] = maya.memory.recall("dawn", 1)
        store.add_task(late)
        [after] = maya.memory.recall("dawn", 1)
    assert before.similarity < after.similarity == pytest.approx(1)


def asked(hour: str, tea: str, task: Task = TEAS) -> Interaction:
    return Interaction(interaction_id=hour, query=task.query(hour), ground_truth=tea, task=task.name)


def test_a_rating_is_from_1_to_5_whether_its_task_says_so_or_not() -> None:
    assert Task(name="made up stars", kind="rating").labels == ("1", "2", "3", "4", "5")
    assert Task.from_json('{"name": "made up stars", "kind": "rating", "labels": []}').labels == RATINGS
