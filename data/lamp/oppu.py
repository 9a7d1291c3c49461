"""LaMP as OPPU processed it (arXiv 2402.04401), the files of the paper's experiments: users with all their questions.

    user_top_100_history.json, user_more_100_history.json, user_others.json:
        [{"user_id", "profile": [...], "query": [{"id", "input", "gold"}]}]       items as in LaMP, oldest first
    user_top_100_history_label.json, beside it if at all:
        {"task", "golds": [{"id", "output"}]}

Its label files misname their tasks (LaMP_8 is movies, LaMP_2 is news), so their `task` is not read; its ratings may be
numbers; its citation items know what was cited (`citation`) but not what it was chosen from, so they are no questions.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

from ..errors import InputError
from ..task import Task
from .record import Record, read_json

QUESTION_FILES = ("user_top_100_history.json", "user_more_100_history.json")
NOTE = "OPPU's files: the order of a profile is taken as the order of time."


def question_file(folder: Path) -> Path | None:
    """Return the file of the users with the longest histories; None if this is not a folder of OPPU's."""
    return next((folder / name for name in QUESTION_FILES if (folder / name).is_file()), None)


def read_users(file: Path, task: Task) -> Iterator[tuple[Record, str]]:
    """Yield each question in LaMP's own form, its user's profile and id in it, with its gold.

    Raises:
        InputError: The file cannot be read.
        RecordError: Something in it is wrong.
    """
    users = Record(file, "whole file", {"users": read_json(file)}).items("users")
    for number, row in enumerate(users, 1):
        user = Record(file, f"user number {number}", row)
        user.name = f"user {user.identifier('user_id')}"
        profile = [_as_lamp(item) for item in user.items("profile")]
        for place, asked in enumerate(user.items("query"), 1):
            question = Record(file, f"{user.name}, query number {place}", asked)
            whole = {**question.fields, "profile": profile, "user_id": user.identifier("user_id")}
            gold = Record(file, question.name, {"gold": _text(question.fields.get("gold"))})
            yield Record(file, question.name, whole), gold.label("gold", task.labels)


def refuse_other_ids(labels: Path, questions: set[str]) -> None:
    """See to it that a label file, if there is one, is of the same questions.

    Raises:
        InputError: It is of others.
    """
    if not labels.is_file():
        return
    golds = Record(labels, "whole file", read_json(labels)).items("golds")
    known = {Record(labels, f"gold number {number}", gold).identifier("id") for number, gold in enumerate(golds, 1)}
    if known != questions:
        raise InputError(f"{labels}: labels {len(known)} questions, of which {len(known & questions)} are asked")


def _as_lamp(item: object) -> object:
    """Return a profile item with its rating as LaMP writes it."""
    fields = cast("dict[str, object]", item) if isinstance(item, dict) else {}
    return {**fields, "score": _text(fields["score"])} if "score" in fields else cast("object", item)


def _text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
