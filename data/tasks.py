"""The registry of tasks: what the name of a task means, wherever an interaction or a command says one.

The package's own tasks (`open`, LaMP's) are always known. A task of your own is known once it is registered; a store
keeps those that it was given (`Store.add_task`) and registers them when it is opened.

>>> register(Task(name="spice", kind="label", labels=("mild", "hot"), template="How hot? {content}"))
>>> task_named("spice").content("How hot? A curry.")
'A curry.'
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from .errors import InputError, UnknownNameError
from .interaction import SAID
from .task import OPEN, Task

_own: dict[str, Task] = {}


@cache
def _built_in() -> Mapping[str, Task]:
    """Return the tasks of the package, whose names cannot be given to others."""
    from .lamp.tasks import TASKS

    return {OPEN.name: OPEN, **TASKS}


def register(task: Task) -> None:
    """Make a task known in this process, in place of an earlier one of the same name.

    Raises:
        InputError: The name is that of another task of the package, or of what users state.
    """
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


def known_tasks() -> Mapping[str, Task]:
    """Return all tasks by name: the package's, then your own."""
    return {**_built_in(), **_own}


def task_named(name: str) -> Task:
    """Return the task of this name.

    Raises:
        UnknownNameError: There is no such task.
    """
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
        return Task.from_json(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(f"{file}: describes no task: {field}: {first['msg']}") from error


def _find(name: str) -> Task | None:
    return _built_in().get(name) or _own.get(name)
