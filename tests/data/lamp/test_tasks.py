import pytest

from personaagent.data.errors import UnknownNameError
from personaagent.data.lamp import TASKS, task_named
from personaagent.data.task import Task


def test_the_tasks_are_lamps() -> None:
    kinds = {name: task.kind for name, task in TASKS.items()}
    assert kinds == {
        "LaMP-1": "label",
        "LaMP-2M": "label",
        "LaMP-2N": "label",
        "LaMP-3": "rating",
        "LaMP-4": "text",
        "LaMP-5": "text",
        "LaMP-6": "text",
        "LaMP-7": "text",
    }
    assert {name: len(task.labels) for name, task in TASKS.items() if task.labels} == {
        "LaMP-1": 2,
        "LaMP-2M": 15,
        "LaMP-2N": 15,
        "LaMP-3": 5,
    }


def test_a_query_of_movies_names_every_tag_and_ends_with_the_description() -> None:
    query = task_named("LaMP-2M").query("A ferry is late.")
    assert query.startswith("Which tag does this movie relate to among the following tags? Just answer with the tag")
    assert "tags: [sci-fi, based on a book, comedy, " in query
    assert query.endswith(", violence, true story] description: A ferry is late.")


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
@pytest.mark.parametrize("content", ["A plain text.", "", 'With {content}, "quotes" and description: inside'])
def test_the_content_of_a_query_is_what_it_was_made_of(task: Task, content: str) -> None:
    assert task.content(task.query(content)) == content


def test_open_questions_are_a_task_too() -> None:
    assert task_named("open").kind == "text"


def test_an_unknown_name_shows_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown task 'LaMP-2': use one of LaMP-1, LaMP-2M, .*, open"):
        task_named("LaMP-2")
