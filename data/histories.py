"""Users to evaluate on from JSON lines of one's own: a file of dated queries and ground truths is one user.

What `personaagent ingest` takes can be evaluated: the newest fifth of each user's interactions are asked, and the
others are the history.
"""

from collections.abc import Sequence
from pathlib import Path

from .errors import InputError, RecordError
from .ingest import read_jsonl
from .interaction import Interaction
from .lamp.files import LampData, LampUser
from .task import Task, read_task, register, task_named

TASK_FILE = "task.json"
ASKED = 0.2
"""The part of a user's interactions that is asked, at least one."""
NOTE = f"Own data: the newest {ASKED:.0%} of each user's interactions are the questions, the others are the history."


def history_files(path: Path) -> tuple[Path, ...]:
    """Return the files of users: the file itself, or those of a folder in the order of their names."""
    return (path,) if path.suffix == ".jsonl" else tuple(sorted(path.glob("*.jsonl")))


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
    """Read users, one a file (see `ingest.read_jsonl`), named as the file is.

    Args:
        files: UTF-8, one JSON object a line with `query`, `ground_truth` and `at`, oldest first.
        task: What every line asks, whatever `task` it says; a line's ground truth must be in its form.

    Raises:
        InputError: A file cannot be read, or holds fewer than two interactions.
        RecordError: Something in a line is wrong; the message names file, line and field.
    """
    return LampData(task, tuple(_user(file, task) for file in files), (NOTE,))


def _user(file: Path, task: Task) -> LampUser:
    lines = tuple(_of_task(file, number, one, task) for number, one in enumerate(read_jsonl(file), 1))
    if len(lines) < 2:
        raise InputError(f"{file}: holds one interaction only: a user needs a history and a question after it")
    asked = max(1, round(ASKED * len(lines)))
    return LampUser(file.stem, lines[:-asked], lines[-asked:])


def _of_task(file: Path, number: int, one: Interaction, task: Task) -> Interaction:
    if task.labels and one.ground_truth not in task.labels:
        problem = f"{(one.ground_truth or '')[:80]!r} is not one of {task.name}'s labels: {', '.join(task.labels)}"
        raise RecordError(file, f"interaction {number}", "ground_truth", problem)
    return one.model_copy(update={"task": task.name})
