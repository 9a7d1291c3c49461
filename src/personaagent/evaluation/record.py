"""What an evaluation leaves in its folder.

`rows.jsonl` has a row for each method and question, `run.txt` the run that wrote them, `personas.jsonl` the personas
that methods made. `protocol.json` says how it was done; it is written last: a folder without it is not finished.
"""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import Literal, TypeVar

import dspy
from pydantic import Field, ValidationError, field_validator

from ..data.alignment import Spend
from ..data.errors import InputError, RecordError, writing
from ..data.nouns import Noun
from ..data.persona import Persona
from ..data.task import Task
from ..programs import PersonaAgent

ROWS_FILE = "rows.jsonl"
RUN_FILE = "run.txt"
PERSONAS_FILE = "personas.jsonl"
PROTOCOL_FILE = "protocol.json"

Status = Literal["scored", "unscored", "unparsed", "failed"]
"""`unscored`: the question has no gold; `unparsed`: there is no answer in the form of the task; `failed`: the program
came to no answer."""

NounType = TypeVar("NounType", bound=Noun)


class Row(Noun):
    """How one method answered one question."""

    method: str
    task: str
    user_key: str
    """A hash of the user id: rows can be published."""
    question_id: str
    gold: str | None
    """None if it is not public, as in LaMP's test split: then nothing is scored."""
    status: Status
    prediction: str | None
    """What the program answered, as it answered."""
    parsed: str | None
    """The same in the form of the task; None unless `scored` or `unscored`."""
    score: float | None = None
    """By the user's own metric, if there is one."""
    probabilities: dict[str, float] | None = None
    """How probable the program found each label or rating; None if it does not say."""
    error: str | None = None
    """Name of the error type."""
    message: str | None = None
    """What the error says."""
    spend: Spend
    """What the answer took; its `seconds` are the latency of this question."""
    preparation: Spend | None = None
    """What preparing this user's program took; on the row of the user's first question only."""

    @field_validator("prediction", "parsed", "message", mode="before")
    @classmethod
    def _as_unicode(cls, text: str | None) -> str | None:
        """Replace halves of surrogate pairs, which an LM may write but no file can hold."""
        return None if text is None else text.encode("utf-8", "replace").decode()


class PersonaRecord(Noun):
    """The persona that a method made for one user."""

    method: str
    user_key: str
    first: Persona
    """As it was made from the history, before any alignment."""
    aligned: Persona | None = None
    """The one that was live after the last question; None if the method does not align."""
    versions: int = Field(default=1, ge=1)
    """Persona versions in all, the first one and rejected ones included."""

    @property
    def last(self) -> Persona:
        """The persona that the method ended with."""
        return self.aligned or self.first


class EvaluationProtocol(Noun):
    """How an evaluation was done: what is needed to judge its numbers, and to do it again."""

    task: Task
    methods: tuple[str, ...] = Field(min_length=1)
    """Names as in the rows, in the order in which they ran."""
    split: str
    """Which data: the last part of the folder's name, never its path."""
    online: bool = False
    """Whether a method learned the ground truth of each question before it was asked the next one."""
    users: int | None = None
    """Users that were to be drawn; None for all."""
    questions: int | None = None
    """Questions that were to be drawn, of the users in turns; None for all."""
    seed: int
    question_ids: dict[str, tuple[str, ...]]
    """The questions that were asked, by user key, in the order in which they were begun."""
    lms: dict[str, str] = Field(default_factory=dict)
    """Model by role (`agent`, `loss`, `revision`); empty if no method asks an LM."""
    embedder: str
    versions: dict[str, str]
    """Version by package: personaagent, dspy, python."""
    run_id: str
    started: datetime
    seconds: float
    """From beginning to end, on the clock."""
    notes: tuple[str, ...] = ()
    """What a reader of the numbers must know, a sentence each."""

    @property
    def n_users(self) -> int:
        """Users whose questions were asked."""
        return len(self.question_ids)

    @property
    def n_questions(self) -> int:
        """Questions that each method was asked."""
        return sum(len(asked) for asked in self.question_ids.values())

    @field_validator("split")
    @classmethod
    def _is_no_path(cls, split: str) -> str:
        if "/" in split or "\\" in split:
            raise ValueError("is a path: give its last part only")
        return split


@dataclass(frozen=True)
class FinishedEvaluation:
    """What a folder holds: one task, evaluated to the end."""

    protocol: EvaluationProtocol
    rows: tuple[Row, ...]
    """A row for each method and question, in the protocol's order of methods, users and questions."""
    personas: tuple[PersonaRecord, ...]
    """In the protocol's order of methods and users."""

    def rows_of(self, method: str) -> tuple[Row, ...]:
        """Return the rows of a method."""
        return tuple(row for row in self.rows if row.method == method)


def fingerprint(rows: Iterable[Row]) -> str:
    """Return a hash of what rows say, whatever their order and however long their answers took."""

    def timeless(spend: Spend | None) -> Spend | None:
        return spend and spend.model_copy(update={"seconds": 0.0})

    lines = sorted(
        row.model_copy(update={"spend": timeless(row.spend), "preparation": timeless(row.preparation)}).to_json()
        for row in rows
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def persona_of(program: dspy.Module | None, method: str, user_key: str) -> PersonaRecord | None:
    """Return the persona of a program that a method made for a user; None if it has none."""
    if not isinstance(program, PersonaAgent):
        return None
    alignment = getattr(program, "alignment", None)
    return PersonaRecord(
        method=method,
        user_key=user_key,
        first=alignment.base if alignment else program.persona,
        aligned=alignment.persona if alignment else None,
        versions=1 + len(alignment.iterations) if alignment else 1,
    )


class EvaluationWriter:
    """Writes rows and personas into the folder of an evaluation, each as a line of its file, at once.

    Args:
        folder: Is made if it is not there; None keeps nothing.
        run_id: The run whose rows they are. It is noted beside them, and only this run may write them anew.

    Raises:
        InputError: The folder already holds the rows of another evaluation.
        StorageError: A file cannot be written; by `write` too.
    """

    def __init__(self, folder: Path | None, run_id: str | None = None) -> None:
        self._folder = folder
        if folder is None:
            return
        rows = folder / ROWS_FILE
        with writing(rows):
            folder.mkdir(parents=True, exist_ok=True)
            if rows.exists() and (run_id is None or run_of(folder) != run_id):
                raise InputError(f"{rows} holds the rows of an earlier evaluation: name another folder")
            if run_id is not None:  # before there are rows: a run that is killed in between can be taken up
                (folder / RUN_FILE).write_text(run_id + "\n", encoding="utf-8")
            rows.write_text("")
            (folder / PERSONAS_FILE).unlink(missing_ok=True)

    def write(self, record: Row | PersonaRecord) -> None:
        """Write a record; the first persona makes their file."""
        if self._folder is None:
            return
        path = self._folder / (ROWS_FILE if isinstance(record, Row) else PERSONAS_FILE)
        with writing(path), path.open("a", encoding="utf-8") as file:
            file.write(record.to_json() + "\n")


def run_of(folder: Path) -> str | None:
    """Return the run whose rows a folder holds; None if there are none, or their run is not noted."""
    note = folder / RUN_FILE
    return note.read_text(encoding="utf-8").strip() if note.is_file() else None


def write_protocol(folder: Path, protocol: EvaluationProtocol) -> None:
    """Write `protocol.json`, which says that the evaluation is finished: call it when all rows are written."""
    path = folder / PROTOCOL_FILE
    with writing(path):
        path.write_text(protocol.model_dump_json(indent=1) + "\n", encoding="utf-8")


def write_submissions(folder: Path, task: Task, rows: Iterable[Row]) -> None:
    """Write `submission-METHOD.json` for each method, as LaMP takes it in for its hidden golds.

    {"task": "LaMP_2", "golds": [{"id": "210", "output": "comedy"}, ...]}

    An output is what the program answered; it is empty where there is no answer.
    """
    outputs: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in rows:
        outputs[row.method].append((row.question_id, row.prediction or ""))
    name = re.sub(r"LaMP-(\d+).*", r"LaMP_\1", task.name)  # Movies and news are both LaMP_2 there.
    for method, answers in outputs.items():
        said = {"task": name, "golds": [{"id": of, "output": output} for of, output in sorted(answers)]}
        path = folder / f"submission-{re.sub(r'[^A-Za-z0-9_.=-]+', '-', method)}.json"
        with writing(path):
            path.write_text(json.dumps(said, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_evaluation(folder: Path) -> FinishedEvaluation:
    """Read one finished evaluation.

    Raises:
        InputError: The folder holds none, or its rows are not those that the protocol names.
        RecordError: A line of a file is not what it should be.
    """
    if not (path := folder / PROTOCOL_FILE).is_file():
        raise InputError(
            f"{folder} holds no finished evaluation ({PROTOCOL_FILE} is missing): run one to its end first"
        )
    protocol = _parsed(EvaluationProtocol, path, "the protocol", _text(path))
    return FinishedEvaluation(
        protocol, _rows(protocol, folder / ROWS_FILE), _personas(protocol, folder / PERSONAS_FILE)
    )


def read_evaluations(folder: Path) -> tuple[FinishedEvaluation, ...]:
    """Read the finished evaluation in `folder`, or else those in the folders in it, by task name.

    Raises:
        InputError: There is none, two are of one task, or one cannot be read.
    """
    if (folder / PROTOCOL_FILE).is_file():
        return (read_evaluation(folder),)
    found = [read_evaluation(path.parent) for path in sorted(folder.glob(f"*/{PROTOCOL_FILE}"))]
    if not found:
        raise InputError(f"{folder} holds no finished evaluation: name the folder that `evaluate --out` was given")
    for task, copies in Counter(evaluation.protocol.task.name for evaluation in found).items():
        if copies > 1:
            raise InputError(f"{folder} holds {copies} evaluations of {task}: report on one folder at a time")
    return tuple(sorted(found, key=lambda evaluation: evaluation.protocol.task.name))


def _rows(protocol: EvaluationProtocol, path: Path) -> tuple[Row, ...]:
    """Read the rows, one of each method for each question, in the protocol's order: no total is of half of them."""
    rows, key_of = list(_lines(Row, path)), attrgetter("method", "user_key", "question_id")
    questions = [(user_key, asked) for user_key, of_user in protocol.question_ids.items() for asked in of_user]
    expected = Counter((method, *question) for method in protocol.methods for question in questions)
    found = Counter(map(key_of, rows))
    for key in expected | found:
        if expected[key] != found[key]:
            raise InputError(
                f"{path}: {found[key]} row(s) of {key[0]} for question {key[2]!r}, where the protocol has "
                f"{expected[key]}: the evaluation is not finished, or files of two are mixed"
            )
    places = {key: place for place, key in enumerate(expected)}
    return tuple(sorted(rows, key=lambda row: places[key_of(row)]))


def _personas(protocol: EvaluationProtocol, path: Path) -> tuple[PersonaRecord, ...]:
    """Read the personas, if there are any, in the protocol's order."""
    personas = list(_lines(PersonaRecord, path)) if path.is_file() else []
    methods, users = (
        {name: place for place, name in enumerate(of)} for of in (protocol.methods, protocol.question_ids)
    )
    for number, record in enumerate(personas, 1):
        for field, value, known in (("method", record.method, methods), ("user_key", record.user_key, users)):
            if value not in known:
                problem = "is not in the protocol: files of two evaluations are mixed"
                raise RecordError(path, f"line {number}", field, problem)
    return tuple(sorted(personas, key=lambda record: (methods[record.method], users[record.user_key])))


def _lines(kind: type[NounType], path: Path) -> Iterator[NounType]:
    lines = _text(path).removesuffix("\n").split("\n")  # an answer may hold other characters that end lines
    return (_parsed(kind, path, f"line {number}", line) for number, line in enumerate(lines, 1))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def _parsed(kind: type[NounType], path: Path, record: str, text: str) -> NounType:
    try:
        return kind.from_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = str(first["loc"][0]) if first["loc"] else None
        raise RecordError(path, record, field, f"{first['msg']}: evaluate again into another folder") from error
