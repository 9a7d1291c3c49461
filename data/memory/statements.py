"""Semantic memory: what the interactions of a user add up to, each statement with its evidence.

    Of 36 questions of task LaMP-2M the user answered "comedy" 14 times (39%), "classic" 9 times (25%), ...

Labels and ratings are counted here. A summary of texts is written by an LM elsewhere and is one more `Statement`.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from ..interaction import Interaction
from ..lamp.tasks import TASKS
from ..statement import Statement
from ..task import OPEN, Task


class StoredStatements(Protocol):
    """One user's statements in the store."""

    def current(self) -> tuple[Statement, ...]:
        """Return the newest statement of each topic."""
        ...

    def history(self, topic: str) -> tuple[Statement, ...]:
        """Return every statement on a topic, the newest last."""
        ...

    def add(self, statement: Statement) -> None:
        """Store a statement as the newest of its topic."""
        ...


class _Interactions(Protocol):
    def all(self) -> tuple[Interaction, ...]: ...


class _User(Protocol):
    @property
    def interactions(self) -> _Interactions: ...

    @property
    def statements(self) -> StoredStatements: ...


class SemanticMemory:
    """Keeps a user's stored counts in step with the user's interactions.

    Args:
        clock: Tells when a statement is made.
    """

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock

    def update(self, user: _User) -> tuple[Statement, ...]:
        """Count what the user has answered, and store the statements that have changed since the last update.

        Returns:
            The statements that were stored; none if nothing changed.

        Raises:
            StorageError: The store cannot write.
        """
        stored = {statement.topic: statement for statement in user.statements.current()}
        derived = derive_statements(user.interactions.all(), self._clock())
        changed = tuple(one for one in derived if not says_the_same(one, stored.get(one.topic)))
        for statement in changed:
            user.statements.add(statement)
        return changed


def derive_statements(interactions: Sequence[Interaction], now: datetime) -> tuple[Statement, ...]:
    """Return what these interactions add up to: one statement for each label or rating task that was answered.

    A ground truth counts if it is in the form of its task, so that no other text reaches a statement. Tasks come in the
    order of their first answer; so do answers that were given equally often.

    Args:
        interactions: One user's, oldest first. Those without a ground truth are skipped.
        now: When the statements are made.
    """
    answers: dict[str, dict[str, str]] = {}
    for one in interactions:
        if answer := _answer(one):
            answers.setdefault(one.task, {})[one.interaction_id] = answer
    return tuple(_statement(TASKS[name], by_id, now) for name, by_id in answers.items())


def says_the_same(statement: Statement, other: Statement | None) -> bool:
    """Whether two statements agree in topic, words and evidence, whenever they were made."""
    return other is not None and (statement.topic, statement.text, statement.evidence) == (
        other.topic,
        other.text,
        other.evidence,
    )


def _answer(interaction: Interaction) -> str | None:
    task = TASKS.get(interaction.task, OPEN)
    if task.kind == "text" or interaction.ground_truth is None:
        return None
    return task.parse(interaction.ground_truth)


def _statement(task: Task, answers: dict[str, str], now: datetime) -> Statement:
    topic = f"answers to {task.name}"
    text = _counted(task, list(answers.values()))
    evidence = tuple(answers)
    identity = "\n".join([topic, text, now.isoformat(), *evidence])
    return Statement(
        statement_id=hashlib.sha256(identity.encode()).hexdigest()[:16],
        topic=topic,
        text=text,
        evidence=evidence,
        at=now,
    )


def _counted(task: Task, answers: Sequence[str]) -> str:
    total = len(answers)
    verb = "rated" if task.kind == "rating" else "answered"
    shares = ", ".join(
        f'"{answer}" {_plural(count, "time")} ({_percent(count, total)})'
        for answer, count in Counter(answers).most_common()
    )
    text = f"Of {_plural(total, 'question')} of task {task.name} the user {verb} {shares}"
    if task.kind == "rating":
        text += f"; the mean is {sum(map(int, answers)) / total:.2f}"
    return f"{text}."


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _percent(count: int, total: int) -> str:
    """Return a share in whole percent, halves rounded up; what is not nothing or not all never reads so."""
    percent = (200 * count + total) // (2 * total)
    if percent == 0:
        return "<1%"
    return ">99%" if percent == 100 and count < total else f"{percent}%"
