"""The users of an evaluation: drawn by seed, or read from files of your own, whose newest fifth is asked."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ..data.errors import InputError, RecordError, UnknownNameError
from ..data.history import read_history
from ..data.history.files import TABLES
from ..data.interaction import Interaction
from ..data.lamp import LampData, LampUser
from ..data.task import Task, known_tasks, read_task, register, task_named


def select(data: LampData, *, users: int | None = None, questions: int | None = None, seed: int = 0) -> LampData:
    """Return a part of the data, the same for the same seed; what is left stays in its order.

    Args:
        data: What to draw from.
        users: How many users to draw; all by default, or if there are not so many.
        questions: How many of these users' questions to draw in all, in turns: every user gives one before any gives a
            second, as an interval over users wants it. A user left without a question is left out.
        seed: Decides which ones.

    Raises:
        InputError: A number is less than 1.
    """
    for name, number in (("users", users), ("questions", questions)):
        if number is not None and number < 1:
            raise InputError(f"{name} is {number}: draw at least 1, or leave it out to take all")
    generator = random.Random(seed)
    drawn: Sequence[LampUser] = data.users
    if users is not None and users < len(drawn):
        drawn = [drawn[index] for index in sorted(generator.sample(range(len(drawn)), users))]
    turns = [
        (turn, generator.random(), (user.user_id, question.interaction_id))
        for user in drawn
        for turn, question in enumerate(generator.sample(user.questions, len(user.questions)))
    ]
    asked = {names for _turn, _order, names in sorted(turns)[:questions]}
    kept = (
        replace(user, questions=tuple(q for q in user.questions if (user.user_id, q.interaction_id) in asked))
        for user in drawn
    )
    return replace(data, users=tuple(user for user in kept if user.questions))


def shuffle_users(data: LampData, *, seed: int = 0) -> LampData:
    """Give every user the history of another, decided by the seed; questions stay where they are.

    Raises:
        InputError: There are fewer than two users.
    """
    if len(data.users) < 2:
        raise InputError("histories are exchanged between users, and there is only one: draw at least 2 users")
    circle = random.Random(seed).sample(data.users, len(data.users))
    others = {user.user_id: other.history for user, other in zip(circle, [*circle[1:], circle[0]], strict=True)}
    note = "Each user was answered with the history of another user: what is personal can bring nothing here."
    users = tuple(replace(user, history=others[user.user_id]) for user in data.users)
    return replace(data, users=users, notes=(*data.notes, note))


def label_histories(data: LampData, most: int = 3) -> LampData:
    """Move each user's earliest questions into the history, if no history has a ground truth but questions do.

    The items of LaMP-1 and LaMP-7 say nothing of what their user would answer, so there is nothing to align with and no
    example to show. Each user keeps at least one question; one who has no other has no labelled history.

    Args:
        data: Users; without golds, or with a ground truth in any history, they stay as they are.
        most: Questions that a user gives up, at most (paper: an alignment takes 3 interactions).
    """
    if any(past.ground_truth is not None for user in data.users for past in user.history):
        return data
    if all(question.ground_truth is None for question in data.questions):
        return data
    users = tuple(
        replace(user, history=(*user.history, *user.questions[:given]), questions=user.questions[given:])
        for user in data.users
        for given in [min(most, len(user.questions) - 1)]
    )
    without = sum(len(user.questions) == 1 for user in data.users)
    note = (
        f"The items of {data.task.name} have no labels: up to {most} of each user's earliest questions joined the "
        f"history with their golds and are not asked; {without} of {len(users)} users have one question only and "
        "no such history."
    )
    return replace(data, users=users, notes=(*data.notes, note))


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
    """Return the task of this name; if a `task.json` beside the users' files describes it, it is known from now on.

    Raises:
        InputError: The file cannot be read, describes no task, or its name is that of another task of the package.
        UnknownNameError: There is no such task.
    """
    file = (path if path.is_dir() else path.parent) / TASK_FILE
    if file.exists():
        task = read_task(file)
        if task.name == name:
            register(task)
        elif name not in known_tasks():
            raise UnknownNameError("task", name, [task.name, *known_tasks()])
    return task_named(name)


def load_histories(files: Sequence[Path], task: Task) -> LampData:
    """Read users from files (see `read_history`); a file that names no user has one, of the name of the file.

    Every line asks the task, whatever `task` it says, and its ground truth must be in the form of the task.

    Raises:
        InputError: A file cannot be read, or holds fewer than two interactions.
        RecordError: Something in a line is wrong; the message names file, line and field.
    """
    users = (user for file in files for user in _users(file, task))
    return LampData(task, tuple(users), (NOTE,))


def _users(file: Path, task: Task) -> Iterator[LampUser]:
    for user_id, interactions in read_history(file, user=file.stem, task=task).by_user.items():
        lines = tuple(_of_task(file, number, line, task) for number, line in enumerate(interactions, 1))
        if len(lines) < 2:
            raise InputError(f"{file}: holds one interaction only of {user_id!r}: a question needs a history before it")
        asked = max(1, round(ASKED * len(lines)))
        yield LampUser(user_id, lines[:-asked], lines[-asked:])


def _of_task(file: Path, number: int, line: Interaction, task: Task) -> Interaction:
    if task.labels and line.ground_truth not in task.labels:
        problem = f"{(line.ground_truth or '')[:80]!r} is not one of {task.name}'s labels: {', '.join(task.labels)}"
        raise RecordError(file, f"interaction {number}", "ground_truth", problem)
    return line.model_copy(update={"task": task.name})
