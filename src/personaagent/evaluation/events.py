"""What an evaluation tells while it runs."""

from dataclasses import dataclass
from typing import Protocol

from ..data.alignment import Spend
from .protocol import PersonaRecord
from .rows import Row


@dataclass(frozen=True)
class EvaluationStarted:
    """Nothing has been asked yet."""

    methods: tuple[str, ...]
    users: int
    questions: int
    """Questions for each method."""


@dataclass(frozen=True)
class UserPrepared:
    """A method has a program for a user, or failed to make one."""

    method: str
    user_key: str
    spend: Spend
    persona: PersonaRecord | None
    """The persona under which the program answers; None if it has none, or there is no program."""


@dataclass(frozen=True)
class QuestionAnswered:
    """One more question is done, answered or not; its row is on disk."""

    row: Row
    done: int
    """Questions done, of all methods together."""
    total: int


Event = EvaluationStarted | UserPrepared | QuestionAnswered


class Listener(Protocol):
    """Is told of every event, in the event loop of the evaluation: it must return soon."""

    def __call__(self, event: Event, /) -> None:
        """Hear of `event`."""
        ...


def ignore(event: Event) -> None:
    """Listen to nothing."""
