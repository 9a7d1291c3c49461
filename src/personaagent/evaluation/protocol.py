"""What an evaluation was, beside its rows: how it was done, and the personas that its methods ended with.

A folder that holds a finished evaluation has `rows.jsonl`, `protocol.json` and, if a method made personas,
`personas.jsonl`. The protocol is written last: a folder without one is not finished.
"""

from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import Field, ValidationError, field_validator

from ..data.errors import InputError, RecordError, writing
from ..data.nouns import Noun
from ..data.persona import Persona
from ..data.task import Task
from .rows import ROWS_FILE, Row

if TYPE_CHECKING:
    import dspy

PROTOCOL_FILE = "protocol.json"
PERSONAS_FILE = "personas.jsonl"

OneNoun = TypeVar("OneNoun", bound=Noun)


class Protocol(Noun):
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
        """Users that were asked for."""
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


class PersonaRecord(Noun):
    """The persona that a method made for one user."""

    method: str
    user_key: str
    first: Persona
    """As it was made from the history, before any alignment."""
    aligned: Persona | None = None
    """The one that was live after the last question; None if the method does not align."""
    versions: int = Field(default=1, ge=1)
    """Persona versions that there came to be, the first one and rejected ones included."""

    @property
    def last(self) -> Persona:
        """The persona that the method ended with."""
        return self.aligned or self.first


def persona_of(program: "dspy.Module | None", method: str, user_key: str) -> PersonaRecord | None:
    """Return the record of the persona of a program that a method made for a user; None if it has none."""
    from ..programs import PersonaAgent

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


PersonaSink = Callable[[PersonaRecord], None]


@dataclass(frozen=True)
class FinishedEvaluation:
    """What a folder holds: one task, evaluated to the end."""

    protocol: Protocol
    rows: tuple[Row, ...]
    """A row for each method and question, in the protocol's order of methods, users and questions."""
    personas: tuple[PersonaRecord, ...]
    """In the protocol's order of methods and users."""

    def rows_of(self, method: str) -> tuple[Row, ...]:
        """Return the rows of one method."""
        return tuple(row for row in self.rows if row.method == method)


def write_protocol(folder: Path, protocol: Protocol) -> Path:
    """Write `protocol.json`, which says that the evaluation is finished: call it when all rows are written.

    Raises:
        StorageError: The file cannot be written.
    """
    path = folder / PROTOCOL_FILE
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(protocol.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return path


@contextmanager
def persona_file(folder: Path | None) -> Generator[PersonaSink]:
    """Open `personas.jsonl` in `folder`: a record that is handed in is in the file before the next one comes.

    Open it inside `rows_file`, which sees to it that the folder is this evaluation's own. The file is made with the
    first record: a folder without personas has none.

    Args:
        folder: Is made if it is not there; None keeps nothing.

    Raises:
        StorageError: The file cannot be written.
    """
    if folder is None:
        yield lambda _record: None
        return
    path = folder / PERSONAS_FILE
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)

    def keep(record: PersonaRecord) -> None:
        with writing(path), path.open("a", encoding="utf-8") as file:
            file.write(record.to_json() + "\n")

    yield keep


def read_evaluation(folder: Path) -> FinishedEvaluation:
    """Read one finished evaluation.

    Args:
        folder: Holds `rows.jsonl` and `protocol.json`, perhaps `personas.jsonl`.

    Raises:
        InputError: The folder holds none, or its rows are not those that the protocol names.
        RecordError: A line of a file is not what it should be.
    """
    if not (path := folder / PROTOCOL_FILE).is_file():
        raise InputError(
            f"{folder} holds no finished evaluation ({PROTOCOL_FILE} is missing): run one to its end first"
        )
    protocol = _parsed(Protocol, path, "the protocol", _text(path))
    rows = tuple(_lines(Row, folder / ROWS_FILE))
    _refuse_other_rows(folder / ROWS_FILE, protocol, rows)
    personas_path = folder / PERSONAS_FILE
    personas = tuple(_lines(PersonaRecord, personas_path)) if personas_path.is_file() else ()
    of_question = {pair: number for number, pair in enumerate(_asked(protocol))}
    of_user = {user_key: number for number, user_key in enumerate(protocol.question_ids)}
    of_method = {name: number for number, name in enumerate(protocol.methods)}
    _refuse_other_personas(personas_path, personas, of_method, of_user)
    return FinishedEvaluation(
        protocol,
        tuple(sorted(rows, key=lambda row: (of_method[row.method], of_question[row.user_key, row.question_id]))),
        tuple(sorted(personas, key=lambda record: (of_method[record.method], of_user[record.user_key]))),
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
    for task, copies in Counter(one.protocol.task.name for one in found).items():
        if copies > 1:
            raise InputError(f"{folder} holds {copies} evaluations of {task}: report on one folder at a time")
    return tuple(sorted(found, key=lambda one: one.protocol.task.name))


def _asked(protocol: Protocol) -> Iterator[tuple[str, str]]:
    return ((user_key, asked) for user_key, questions in protocol.question_ids.items() for asked in questions)


def _refuse_other_rows(path: Path, protocol: Protocol, rows: tuple[Row, ...]) -> None:
    """See to it that each method has one row for each question: no total may be made of half an evaluation."""
    asked = tuple(_asked(protocol))
    expected = Counter((method, user_key, question) for method in protocol.methods for user_key, question in asked)
    found = Counter((row.method, row.user_key, row.question_id) for row in rows)
    for key in expected | found:
        if expected[key] != found[key]:
            method, _, question = key
            raise InputError(
                f"{path}: {found[key]} row(s) of {method} for question {question!r}, where the protocol has "
                f"{expected[key]}: the evaluation is not finished, or files of two are mixed"
            )


def _refuse_other_personas(
    path: Path, personas: tuple[PersonaRecord, ...], methods: dict[str, int], users: dict[str, int]
) -> None:
    for number, record in enumerate(personas, 1):
        if record.method not in methods or record.user_key not in users:
            name = "method" if record.method not in methods else "user_key"
            raise RecordError(
                path, f"line {number}", name, "is not in the protocol: files of two evaluations are mixed"
            )


def _lines(kind: type[OneNoun], path: Path) -> Iterator[OneNoun]:
    lines = _text(path).removesuffix("\n").split("\n")  # an answer may hold other characters that end lines
    return (_parsed(kind, path, f"line {number}", line) for number, line in enumerate(lines, 1))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def _parsed(kind: type[OneNoun], path: Path, record: str, text: str) -> OneNoun:
    try:
        return kind.from_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = str(first["loc"][0]) if first["loc"] else None
        raise RecordError(path, record, field, f"{first['msg']}: evaluate again into another folder") from error
