"""Users to evaluate on from files of one's own: a file of queries and ground truths is one user.

What `personaagent ingest` takes can be evaluated: the newest fifth of each user's interactions are asked, and the
others are the history.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from .errors import InputError, RecordError
from .history import read_history
from .history.files import TABLES
from .interaction import Interaction
from .lamp.files import LampData, LampUser
from .task import Task, read_task, register, task_named

TASK_FILE = "task.json"
SUFFIXES = {".jsonl", ".ndjson", *TABLES}
"""Of the files of users in a folder; a JSON array there may be one of LaMP's."""
ASKED = 0.2
"""The part of a user's interactions that is asked, at least one."""
NOTE = f"Own data: the newest {ASKED:.0%} of each user's interactions are the questions, the others are the history."


def history_files(path: Path) -> tuple[Path, ...]:
    """Return the files of users: the file itself, or those of a folder in the order of their names."""
    if path.is_file():
        return (path,)
    return tuple(sorted(file for file in path.glob("*") if file.suffix.lower() in SUFFIXES))


def own_task(path: Path, name: str) -> Task:
    """Return the task of this name; if a folder describes it in its `task.json`, it is known from now on.

    Args:
        path: The folder of the users' files, or one of them. For its `task.json` see `read_task`.
        name: What the task is called.

    Raises:
        InputError: The file cannot be read, describes no task, or its name is that of another task of the package.
        UnknownNameError: There is no such task.
    """
    file = (path if path.is_dir() else path.parent) / TASK_FILE
    if file.exists() and (task := read_task(file)).name == name:
        register(task)
    return task_named(name)


def load_histories(files: Sequence[Path], task: Task) -> LampData:
    """Read users from files (see `read_history`); who is in a file that names no user is named as the file is.

    Args:
        files: With `query`, `ground_truth` and `at`.
        task: What every line asks, whatever `task` it says; a line's ground truth must be in its form.

    Raises:
        InputError: A file cannot be read, or holds fewer than two interactions.
        RecordError: Something in a line is wrong; the message names file, line and field.
    """
    users = (user for file in files for user in _users(file, task))
    return LampData(task, tuple(users), (NOTE,))


def _users(file: Path, task: Task) -> Iterator[LampUser]:
    for user_id, interactions in read_history(file, user=file.stem, task=task).by_user.items():
        lines = tuple(_of_task(file, number, one, task) for number, one in enumerate(interactions, 1))
        if len(lines) < 2:
            raise InputError(f"{file}: holds one interaction only of {user_id!r}: a question needs a history before it")
        asked = max(1, round(ASKED * len(lines)))
        yield LampUser(user_id, lines[:-asked], lines[-asked:])


def _of_task(file: Path, number: int, one: Interaction, task: Task) -> Interaction:
    if task.labels and one.ground_truth not in task.labels:
        problem = f"{(one.ground_truth or '')[:80]!r} is not one of {task.name}'s labels: {', '.join(task.labels)}"
        raise RecordError(file, f"interaction {number}", "ground_truth", problem)
    return one.model_copy(update={"task": task.name})
