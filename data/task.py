"""Tasks: what is asked, in which form the answer must come, and the registry of their names.

The package's own tasks (`open`, LaMP's) are always known. A task of your own is known once it is registered; a store
keeps those that it was given (`Store.add_task`) and registers them when it is opened.

>>> register(Task(name="spice", kind="label", labels=("mild", "hot"), template="How hot? {content}"))
>>> task_named("spice").content("How hot? A curry.")
'A curry.'
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import ValidationError, model_validator

from .errors import InputError, UnknownNameError
from .interaction import SAID
from .nouns import Noun
from .texts import Rouge, ascii_words, rouge, words_of_every_script

RATINGS = ("1", "2", "3", "4", "5")


class Task(Noun):
    """One kind of question and the set of its answers."""

    name: str
    kind: Literal["label", "rating", "text"]
    """`label`: one of `labels`; `rating`: a whole number 1 to 5; `text`: free text."""
    labels: tuple[str, ...] = ()
    """The label set, in the task's own order; for a rating `1` to `5`; empty for text."""
    positional: bool = False
    """Whether a label names a place in the question: how often it was the answer says nothing about the user."""
    template: str = "{content}"
    """How an item's content becomes a query."""
    metric: str = ""
    """Name of the user's own metric by which answers are scored; empty for those of the kind."""

    @model_validator(mode="before")
    @classmethod
    def _rates_from_1_to_5(cls, given: dict[str, Any]) -> dict[str, Any]:
        if given.get("kind") == "rating" and not given.get("labels"):
            return {**given, "labels": RATINGS}
        return given

    @property
    def rewards(self) -> Literal["accuracy", "mae", "rmse"]:
        """What an answer is rewarded for, which decides between the most probable one, the median and the mean."""
        if self.metric in {"accuracy", "mae", "rmse"}:
            return cast("Literal['accuracy', 'mae', 'rmse']", self.metric)
        return "mae" if self.kind == "rating" else "accuracy"

    def query(self, content: str) -> str:
        """Return the query that asks about `content`."""
        return self.template.replace("{content}", content)

    def content(self, query: str) -> str:
        """Return what a query is about: the query without the fixed words of the template."""
        before, _, after = self.template.partition("{content}")
        if before and query.startswith(before) and query.endswith(after):
            return query[len(before) : len(query) - len(after)]
        return query

    def parse(self, answer: str) -> str | None:
        """Return the answer in the task's form, or None if it has none: our policy, not the official scorer's.

        A label may differ in case, quotes and a final full stop; a rating may be written `4.0`.
        """
        bare = answer.strip().strip("\"'`").rstrip(".").strip()
        if self.kind == "text":
            return answer.strip() or None
        if self.kind == "rating":
            return match.group(1) if (match := re.fullmatch(r"([1-5])(?:\.0+)?", bare)) else None
        matches = [label for label in self.labels if label.casefold() == bare.casefold()]
        return matches[0] if matches else None


OPEN = Task(name="open", kind="text")
"""The task of a question that states no other: free text."""


_own: dict[str, Task] = {}


@cache
def _built_in() -> Mapping[str, Task]:
    """Return the tasks of the package, whose names cannot be given to others."""
    from .lamp.tasks import TASKS

    return {OPEN.name: OPEN, **TASKS}


def register(task: Task) -> None:
    """Make a task known in this process, in place of an earlier task of the same name."""
    if task.name == SAID:
        raise InputError(f"{SAID!r} is what statements of users are stored under: give your task another name")
    if is_built_in(task.name):
        if task != _built_in()[task.name]:
            raise InputError(f"{task.name!r} is the name of a task that the package defines: give yours another name")
        return
    _own[task.name] = task


def is_built_in(name: str) -> bool:
    """Return whether a task of the package has this name."""
    return name in _built_in()


def compared(task: Task, prediction: str, gold: str) -> Rouge:
    """Return the ROUGE of a text: of LaMP's tasks by the official words, of others by those of every script."""
    return rouge(prediction, gold, ascii_words if is_of_lamp(task) else words_of_every_script)


def is_of_lamp(task: Task) -> bool:
    """Return whether a task is one of LaMP's, which are scored as LaMP scores them."""
    return is_built_in(task.name) and task.name != OPEN.name


def known_tasks() -> Mapping[str, Task]:
    """Return all tasks by name: the package's, then your own."""
    return {**_built_in(), **_own}


def task_named(name: str) -> Task:
    """Return the task of this name."""
    if (task := _find(name)) is None:
        raise UnknownNameError("task", name, list(known_tasks()))
    return task


def task_or_open(name: str) -> Task:
    """Return the task of this name, or `open` if it is not known here: then a query is taken as it is."""
    return _find(name) or OPEN


def read_task(file: Path) -> Task:
    """Read a task.

    Args:
        file: Holds the fields of a `Task` as JSON: `{"name": "moods", "kind": "label", "labels": ["calm", "tense"]}`.

    Raises:
        InputError: The file cannot be read, or describes no task.
    """
    try:
        task = Task.from_json(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(f"{file}: describes no task: {field}: {first['msg']}") from error
    if task.kind == "label" and len(task.labels) < 2:
        raise InputError(f'{file}: describes no task: labels: list two or more, as in "labels": ["calm", "tense"]')
    return task


def _find(name: str) -> Task | None:
    return _built_in().get(name) or _own.get(name)
