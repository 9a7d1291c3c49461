"""The rows of an evaluation: one question answered by one method, written down as soon as it is."""

import hashlib
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal, Protocol, TextIO

from pydantic import field_validator

from ..data.alignment import Spend
from ..data.errors import InputError, writing
from ..data.nouns import Noun

ROWS_FILE = "rows.jsonl"
RUN_FILE = "run.txt"

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
    score: float | None = None
    """What one's own metric makes of that, if there is one; see `own_metric`."""
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


class RowSink(Protocol):
    """Takes rows one by one, in the order in which they are finished."""

    def __call__(self, row: Row, /) -> None:
        """Take `row`."""
        ...


@contextmanager
def rows_file(folder: Path | None, run_id: str | None = None) -> Generator[RowSink]:
    """Open `rows.jsonl` in `folder`: a row that is handed in is in the file, as one line, before the next one comes.

    Args:
        folder: Is made if it is not there; None keeps no rows.
        run_id: The run whose rows they are. It is noted beside them, and only this run may write them anew.

    Raises:
        InputError: The folder already holds the rows of another evaluation.
        StorageError: The file cannot be written.
    """
    if folder is None:
        yield lambda _row: None
        return
    path = folder / ROWS_FILE
    with writing(path):
        file = _created(path, run_id)
    try:
        yield partial(_write, file, path)
    finally:
        with writing(path):
            file.close()


def run_of(folder: Path) -> str | None:
    """Return the run whose rows a folder holds; None if it holds none, or nobody knows whose."""
    note = folder / RUN_FILE
    return note.read_text(encoding="utf-8").strip() if note.is_file() else None


def fingerprint(rows: Iterable[Row]) -> str:
    """Return a hash of what rows say, whatever their order and however long their answers took."""
    lines = sorted(_without_seconds(row).to_json() for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _without_seconds(row: Row) -> Row:
    timeless = {
        name: spend and spend.model_copy(update={"seconds": 0.0})
        for name, spend in (("spend", row.spend), ("preparation", row.preparation))
    }
    return row.model_copy(update=timeless)


def _created(path: Path, run_id: str | None) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    again = run_id is not None and run_of(path.parent) == run_id
    if path.exists() and not again:
        raise InputError(f"{path} holds the rows of an earlier evaluation: name another folder")
    if run_id is not None:  # before there are rows: a run that is killed in between can be taken up
        (path.parent / RUN_FILE).write_text(run_id + "\n", encoding="utf-8")
    return path.open("w", encoding="utf-8")


def _write(file: TextIO, path: Path, row: Row) -> None:
    with writing(path):
        file.write(row.to_json() + "\n")
        file.flush()
