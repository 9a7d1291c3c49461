"""LaMP's official files, read as they are: questions with profiles, and the golds beside them.

    questions.json, or dev_questions.json:  [{"id", "input", "profile": [...]}]       time-based also "user_id"
    outputs.json, or dev_outputs.json:      {"task", "golds": [{"id", "output"}]}
    a profile item, by task:                {"id", "tag", "description"}              time-based also "date"

In user-based files each question is its own user, and by its authors' word, the profile is in no particular order.

LaMP as OPPU processed it (arXiv 2402.04401), the files of the paper's experiments, has users with all their questions:

    user_top_100_history.json, user_more_100_history.json, user_others.json:
        [{"user_id", "profile": [...], "query": [{"id", "input", "gold"}]}]       items as in LaMP, oldest first
    user_top_100_history_label.json, beside it if at all:
        {"task", "golds": [{"id", "output"}]}

Its label files misname their tasks (LaMP_8 is movies, LaMP_2 is news), so their `task` is not read; its ratings may be
numbers; its citation items know what was cited (`citation`) but not what it was chosen from, so they are no questions.
"""

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, cast

from ..errors import InputError, RecordError, UnknownNameError
from ..interaction import Interaction
from ..metric import OwnMetric
from ..record import Record, read_json
from ..task import Task

_OPPU_FILES = ("user_top_100_history.json", "user_more_100_history.json")
_OPPU_NOTE = "OPPU's files: the order of a profile is taken as the order of time."


class ItemFields(NamedTuple):
    """Where a task's profile items keep what we need."""

    text: str
    """Field with the text of the item."""
    ground_truth: str | None = None
    """Field with what the user answered; None if the items do not say."""
    title: str | None = None
    """Field with a title that is no answer, kept as metadata."""


ITEM_FIELDS: dict[str, ItemFields] = {
    "LaMP-1": ItemFields("abstract", title="title"),
    "LaMP-2M": ItemFields("description", "tag"),
    "LaMP-2N": ItemFields("text", "category", title="title"),
    "LaMP-3": ItemFields("text", "score"),
    "LaMP-4": ItemFields("text", "title"),
    "LaMP-5": ItemFields("abstract", "title"),
    "LaMP-6": ItemFields("text", "title"),
    "LaMP-7": ItemFields("text"),
}


@dataclass(frozen=True)
class LampUser:
    """One user: what is known, and what is asked."""

    user_id: str
    """The file's own id; where it has none, the question's id."""
    history: tuple[Interaction, ...]
    """The profile as interactions, oldest first; in the file's order where nothing is dated."""
    questions: tuple[Interaction, ...]
    """What is asked, oldest first, after the whole history; `interaction_id` is the question's id and `ground_truth`
    its gold, None without an outputs file."""


@dataclass(frozen=True)
class LampData:
    """The users of one question file, in its order."""

    task: Task
    users: tuple[LampUser, ...]
    notes: tuple[str, ...] = ()
    """What a reader of results must know about how these users were made of the files."""
    metric: OwnMetric | None = None
    """Scores answers; None leaves that to the metrics of the task's kind. See `own_metric.scored_by`."""

    @property
    def questions(self) -> tuple[Interaction, ...]:
        """All questions of all users."""
        return tuple(question for user in self.users for question in user.questions)


def load(folder: Path, task: Task, split: str | None = None) -> LampData:
    """Read a folder of LaMP's files, or of OPPU's.

    Questions of one user share one history: the profile items that all of these questions have. When every item is
    dated, items are put in the order of their dates; items of one date stay in the order of the file. A question
    without a date is taken to be asked just after the history.

    Args:
        folder: Holds `questions.json`, or `{split}_questions.json`, and the outputs file beside it, if any; or OPPU's
            `user_top_100_history.json`.
        task: One of LaMP's tasks: the files cannot tell movies from news.
        split: `train`, `dev` or `test`; needed only if the folder holds several.

    Raises:
        InputError: There is no such file, or more than one; the task is none of LaMP's.
        RecordError: Something in a file is wrong: the message names file, record and field. Nothing is returned then.
    """
    if task.name not in ITEM_FIELDS:
        raise UnknownNameError("LaMP task", task.name, list(ITEM_FIELDS))
    if (users_file := _oppu_file(folder)) is not None:
        questions, golds = _oppu(users_file, task)
        notes: tuple[str, ...] = (_OPPU_NOTE,)
    else:
        questions_file, outputs_file = _files(folder, split)
        questions = read_questions(questions_file)
        golds = _golds(outputs_file, task, questions.keys()) if outputs_file.exists() else {}
        notes = ()
    return LampData(task, _users(questions, task, golds), notes)


def _users(questions: dict[str, Record], task: Task, golds: dict[str, str]) -> tuple[LampUser, ...]:
    by_user: dict[str, list[Record]] = {}
    for question_id, question in questions.items():
        user_id = question.identifier("user_id") if "user_id" in question.fields else question_id
        by_user.setdefault(user_id, []).append(question)
    return tuple(_user(user_id, asked, task, golds) for user_id, asked in by_user.items())


def _oppu(file: Path, task: Task) -> tuple[dict[str, Record], dict[str, str]]:
    asked = list(_oppu_questions(file, task))
    questions = _by_id("question", (question for question, _ in asked))
    _check_labels(file.with_name(f"{file.stem}_label.json"), set(questions))
    return questions, {question_id: gold for question_id, (_, gold) in zip(questions, asked, strict=True)}


def _oppu_file(folder: Path) -> Path | None:
    """Return the file of the users with the longest histories; None if this is not a folder of OPPU's."""
    return next((folder / name for name in _OPPU_FILES if (folder / name).is_file()), None)


def _oppu_questions(file: Path, task: Task) -> Iterator[tuple[Record, str]]:
    """Yield each question of OPPU's file in LaMP's own form, its user's profile and id in it, with its gold."""
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


def _check_labels(labels: Path, questions: set[str]) -> None:
    """Refuse a label file, if there is one, that is of other questions."""
    if not labels.is_file():
        return
    golds = Record(labels, "whole file", read_json(labels)).items("golds")
    known = {Record(labels, f"gold number {number}", gold).identifier("id") for number, gold in enumerate(golds, 1)}
    if known != questions:
        raise InputError(f"{labels}: labels {len(known)} questions, of which {len(known & questions)} are asked")


def _as_lamp(item: object) -> object:
    fields = cast("dict[str, object]", item) if isinstance(item, dict) else {}
    return {**fields, "score": _text(fields["score"])} if "score" in fields else cast("object", item)


def _text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _files(folder: Path, split: str | None) -> tuple[Path, Path]:
    pattern = f"{split}_questions.json" if split else "*questions.json"
    found = sorted(folder.glob(pattern))
    if not found:
        raise InputError(f"{folder}: no file {pattern}: give a folder with LaMP's question and output files")
    if len(found) > 1:
        raise InputError(f"{folder}: several splits, {', '.join(file.name for file in found)}: say which one to read")
    return found[0], found[0].with_name(found[0].name.replace("questions.json", "outputs.json"))


def read_questions(file: Path) -> dict[str, Record]:
    """Return the questions of a question file by id; only that each has an id of its own has been checked."""
    rows = Record(file, "whole file", {"questions": read_json(file)}).items("questions")
    return _by_id("question", (Record(file, f"question number {number}", row) for number, row in enumerate(rows, 1)))


def read_golds(file: Path) -> dict[str, Record]:
    """Return the golds of an outputs file by id, as little checked as the questions. Raises what they raise."""
    rows = Record(file, "whole file", read_json(file)).items("golds")
    return _by_id("gold", (Record(file, f"gold number {number}", row) for number, row in enumerate(rows, 1)))


def _golds(file: Path, task: Task, question_ids: Set[str]) -> dict[str, str]:
    golds = read_golds(file)
    if golds.keys() != question_ids:
        lacking, unknown = sorted(question_ids - golds.keys())[:3], sorted(golds.keys() - question_ids)[:3]
        problem = f"does not match the questions: no gold for {lacking}, no question for {unknown} (first 3 of each)"
        raise RecordError(file, "whole file", "golds", problem)
    return {question_id: gold.label("output", task.labels) for question_id, gold in golds.items()}


def _by_id(kind: str, records: Iterable[Record]) -> dict[str, Record]:
    """Name each record after its id, which no other may have."""
    by_id: dict[str, Record] = {}
    for record in records:
        record_id = record.identifier("id")
        if record_id in by_id:
            raise record.error("id", f"{record_id!r} is the id of an earlier {kind}: ids must differ")
        record.name = f"{kind} {record_id}"
        by_id[record_id] = record
    return by_id


def _user(user_id: str, asked: Sequence[Record], task: Task, golds: dict[str, str]) -> LampUser:
    history = _history(asked, task)
    after = history[-1].at
    in_order = _by_date([(question.date("date"), question) for question in asked])
    questions = (
        Interaction(
            interaction_id=(question_id := question.identifier("id")),
            query=question.text("input"),
            ground_truth=golds.get(question_id),
            at=date or after,
            position=position,
            task=task.name,
            source="import",
        )
        for position, (date, question) in enumerate(in_order, len(history))
    )
    return LampUser(user_id, history, tuple(questions))


def _history(asked: Sequence[Record], task: Task) -> tuple[Interaction, ...]:
    items = _shared_items(asked)
    dated = [(item.date("date"), item) for item in items]
    undated = [item for date, item in dated if date is None]
    if 0 < len(undated) < len(items):
        raise undated[0].error("date", "is missing, while other items of this profile have it: date all or none")
    question_ids = {question.identifier("id") for question in asked}
    history: dict[str, Interaction] = {}
    for position, (date, item) in enumerate(_by_date(dated)):
        item_id = item.identifier("id")
        if item_id in history:
            raise item.error("id", f"{item_id!r} is the id of another item of this profile: ids must differ")
        unique_id = f"{item_id}-item" if item_id in question_ids else item_id
        history[item_id] = _interaction(unique_id, date, position, item, task)
    return tuple(history.values())


def _shared_items(asked: Sequence[Record]) -> list[Record]:
    """Return the items that the profiles of all these questions have, in the order of the first one."""
    first, *others = (question.items("profile") for question in asked)
    differing = [other for other in others if other != first]
    shared = [
        Record(asked[0].file, f"{asked[0].name}, profile item {number}", item)
        for number, item in enumerate(first, 1)
        if all(item in other for other in differing)
    ]
    if not shared:
        raise asked[0].error("profile", "has no item in common with the profiles of this user's other questions")
    return shared


def _by_date(dated: Sequence[tuple[datetime | None, Record]]) -> Sequence[tuple[datetime | None, Record]]:
    """Return them in the order of their dates, or as they are if one has none."""
    pairs = [(date, record) for date, record in dated if date is not None]
    return sorted(pairs, key=lambda pair: pair[0]) if len(pairs) == len(dated) else dated


def _interaction(interaction_id: str, at: datetime | None, position: int, item: Record, task: Task) -> Interaction:
    fields = ITEM_FIELDS[task.name]
    text = item.text(fields.text)
    title = item.text(fields.title) if fields.title else ""
    return Interaction(
        interaction_id=interaction_id,
        query=task.query(text) if fields.ground_truth else f"{title} {text}".strip(),
        ground_truth=item.label(fields.ground_truth, task.labels) if fields.ground_truth else None,
        at=at,
        position=position,
        task=task.name,
        source="import",
        metadata={"title": title} if fields.title else {},
    )
