"""Every error of PersonaAgent, ordered by what the caller can do about it.

    PersonaAgentError
    ├── InputError             fix the call or the data that it names
    │   ├── RecordError          one field of one record of one file
    │   ├── QuotaError           the user has stored as much as may be
    │   ├── UnknownUserError     no such user in this home
    │   │   └── ErasedUserError      the user was erased meanwhile
    │   ├── UnknownNameError     no such task, method, model, tool or persona version
    │   └── ChangedError         another version is live than the caller thought
    ├── SetupError             fix the set-up: files, folders, models
    │   ├── HomeLockedError      another process owns the home folder
    │   ├── ModelFileError       a model file is missing or is not what its hash says
    │   └── StorageError         the store, the index or a file cannot be read or written
    │       └── FullError            there is no room on the disk
    ├── StoppedError           a run must not go on as it is; what it has is kept
    │   ├── BudgetError          its budget does not allow another call
    │   │   └── LimitError             an API key may not make it, now or today
    │   └── DivergenceError      a replay came to a call that was not recorded
    └── ServiceError           try again: something outside did not answer as it should
        ├── LMError              the language model failed
        │   ├── LateError            it did not answer in time
        │   └── TooLongError         the prompt is longer than it reads
        ├── AnswerError          the LM answered, but not in the form that was asked for
        └── TrackingError        MLflow could not be reached

A message names the file, record, field and value, and says what to do next. No error of another library leaves
PersonaAgent's public functions.
"""

import os
import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path


class PersonaAgentError(Exception):
    """Any error that PersonaAgent raises on purpose."""

    retryable: bool = False
    """Whether the same call may succeed later with nothing changed."""


class InputError(PersonaAgentError):
    """What was passed in is wrong; nothing was stored."""


class RecordError(InputError):
    """One field of one record of a file is wrong.

    Args:
        file: The file that was read.
        record: Which record: `line 3`, `question 110`, `question 110, profile item 4`.
        field: The field's name, or None if the record as a whole is wrong.
        problem: What is wrong, with the value, and what to do.
    """

    def __init__(self, file: Path | str, record: str, field: str | None, problem: str) -> None:
        self.file, self.record, self.field, self.problem = str(file), record, field, problem
        where = f"{file}: {record}" + (f", field {field!r}" if field else "")
        super().__init__(f"{where}: {problem}")


class QuotaError(InputError):
    """The user has stored as much as may be."""


class UnknownUserError(InputError):
    """No interaction of this user is stored here."""

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        super().__init__(f"unknown user {user_id!r}: ingest this user's interactions first")


class ErasedUserError(UnknownUserError):
    """The user was erased, or is being erased; nothing was stored."""

    def __init__(self, user_id: str = "") -> None:
        super().__init__(user_id)
        self.args = ("this user was erased, or is being erased: nothing was stored",)


class ChangedError(InputError):
    """Another persona version is live than the caller thought; nothing was changed."""


class UnknownNameError(InputError):
    """A name is not among those that exist.

    Args:
        kind: What was looked for: `task`, `method`, `model`.
        name: The name that was given.
        known: The names that exist.
    """

    def __init__(self, kind: str, name: str, known: list[str]) -> None:
        self.kind, self.name, self.known = kind, name, known
        names = ", ".join(known) or "(none exist yet)"
        super().__init__(f"unknown {kind} {name!r}: use one of {names}{did_you_mean(name, known)}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'rag'?` for the end of a message, or nothing if no known name is near."""
    by_small_letters = {each.casefold(): each for each in known if not each.isdecimal()}
    near = get_close_matches(name.casefold(), by_small_letters, n=1)
    return f"; did you mean {by_small_letters[near[0]]!r}?" if near else ""


class SetupError(PersonaAgentError):
    """The machine, a folder or a file is not as it must be."""


class HomeLockedError(SetupError):
    """Another process owns the home folder."""


class ModelFileError(SetupError):
    """A model file is missing, too short, or not the file that its hash names."""


class StorageError(SetupError):
    """The store could not write: the disk is full, read-only or failing. Nothing was half-stored."""


class FullError(StorageError):
    """There is no room on the disk, or hardly any. Nothing was stored, and nothing paid for."""


class StoppedError(PersonaAgentError):
    """A run must not go on as it is. Nothing takes it for the failure of one call: it ends the run, in good order."""


class BudgetError(StoppedError):
    """The budget does not allow another call."""


class LimitError(BudgetError):
    """An API key may not do this now.

    Args:
        retry_after_seconds: How long until it may, if nothing else uses the key.
        detail: Why, in one sentence for the client.
    """

    def __init__(self, retry_after_seconds: int, detail: str) -> None:
        self.retry_after_seconds, self.detail = retry_after_seconds, detail
        super().__init__(detail)


class DivergenceError(StoppedError):
    """A replay came to a call that its run never made: code, prompts or data have changed since."""


class ServiceError(PersonaAgentError):
    """Something outside this process failed; trying again may help."""

    retryable = True


class LMError(ServiceError):
    """The language model could not be reached, or refused the call."""


class LateError(LMError):
    """The language model did not answer in time."""


class TooLongError(LMError):
    """The prompt is longer than the language model can read."""

    retryable = False


class AnswerError(ServiceError):
    """The language model answered, but not in the form that was asked for."""


class TrackingError(ServiceError):
    """MLflow could not be reached; the store has everything that was to be mirrored."""


@contextmanager
def writing(path: Path) -> Generator[None]:
    """Name the file, or folder, that cannot be written inside."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error


_URL_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


def without_secrets(text: str, *more: str) -> str:
    """Return `text` without credentials in URLs, the values of key variables (`*_API_KEY`) and `more` keys."""
    text = _URL_CREDENTIALS.sub("", text)
    keys = [*more, *(value for name, value in os.environ.items() if name.endswith("_API_KEY"))]
    for key in sorted((key for key in keys if len(key) >= 8), key=len, reverse=True):
        text = text.replace(key, "(key)")
    return text


@contextmanager
def needing(extra: str) -> Generator[None]:
    """Say how to install the extra that brings what is imported inside, if it is not there."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise SetupError(f"this needs the package {error.name}: pip install 'personaagent[{extra}]'") from error
