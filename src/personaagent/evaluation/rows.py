"""The rows of an evaluation: one question answered by one method, written down as soon as it is."""

from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal, Protocol, TextIO

from pydantic import field_validator

from ..data.alignment import Spend
from ..data.errors import InputError, StorageError
from ..data.nouns import Noun

ROWS_FILE = "rows.jsonl"

Status = Literal["scored", "unparsed", "failed"]
"""`unparsed`: there is no answer in the form of the task; `failed`: the program did not come to an answer."""


class Row(Noun):
    """What became of one question."""

    method: str
    task: str
    user_key: str
    """A hash of the user id: rows can be shown around."""
    question_id: str
    gold: str
    status: Status
    prediction: str | None
    """What the program answered, as it answered."""
    parsed: str | None
    """The same in the form of the task; None unless `scored`."""
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


class RowSink(Protocol):
    """Takes rows one by one, in the order in which they are finished."""

    def __call__(self, row: Row, /) -> None:
        """Take `row`."""
        ...


@contextmanager
def rows_file(folder: Path | None) -> Generator[RowSink]:
    """Open `rows.jsonl` in `folder`: a row that is handed in is in the file, as one line, before the next one comes.

    Args:
        folder: Is made if it is not there; None keeps no rows.

    Raises:
        InputError: The folder already holds the rows of an evaluation.
        StorageError: The file cannot be written.
    """
    if folder is None:
        yield lambda _row: None
        return
    path = folder / ROWS_FILE
    with _as_storage_error(path):
        file = _created(path)
    try:
        yield partial(_write, file, path)
    finally:
        with _as_storage_error(path):
            file.close()


def _created(path: Path) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return path.open("x", encoding="utf-8")
    except FileExistsError as error:
        raise InputError(f"{path} holds the rows of an earlier evaluation: name another folder") from error


def _write(file: TextIO, path: Path, row: Row) -> None:
    with _as_storage_error(path):
        file.write(row.to_json() + "\n")
        file.flush()


@contextmanager
def _as_storage_error(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
