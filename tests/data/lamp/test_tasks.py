import pytest

from personaagent.data.lamp import TASKS
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
    query = TASKS["LaMP-2M"].query("A ferry is late.")
    assert query.startswith("Which tag does this movie relate to among the following tags? Just answer with the tag")
    assert "tags: [sci-fi, based on a book, comedy, " in query
    assert query.endswith(", violence, true story] description: A ferry is late.")


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
@pytest.mark.parametrize("content", ["A plain text.", "", 'With {content}, "quotes" and description: inside'])
def test_the_content_of_a_query_is_what_it_was_made_of(task: Task, content: str) -> None:
    assert task.content(task.query(content)) == content
