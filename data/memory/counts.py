"""Statements that are counted: how often a user gave each answer, with the interactions as evidence.

    Of 36 questions of task LaMP-2M the user answered "comedy" 14 times (39%), "classic" 9 times (25%), ...

Labels and ratings are counted here, anew from what is visible: a count is never out of date and needs no storing. A
summary of texts is written by an LM elsewhere (`programs.summarise_history`) and stored, since it costs a call.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from ..interaction import Interaction
from ..statement import Statement
from ..task import Task, task_named, task_or_open


def count_answers(interactions: Sequence[Interaction], now: datetime) -> tuple[Statement, ...]:
    """Return one statement for each label or rating task that was answered.

    A ground truth counts if it is in the form of its task, so that no other text reaches a statement, and if it says
    something about the user, as "[1]" does not. Tasks come in the order of their first answer; so do answers that were
    given equally often.
    """
    answers: dict[str, dict[str, str]] = {}
    for interaction in interactions:
        if answer := _answer(interaction):
            answers.setdefault(interaction.task, {})[interaction.interaction_id] = answer
    return tuple(_statement(task_named(name), by_id, now) for name, by_id in answers.items())


def _answer(interaction: Interaction) -> str | None:
    task = task_or_open(interaction.task)
    if task.kind == "text" or task.positional or interaction.ground_truth is None:
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
    """Return a share in whole percent, halves rounded up; 0% and 100% mean none and all."""
    percent = (200 * count + total) // (2 * total)
    if percent == 0:
        return "<1%"
    return ">99%" if percent == 100 and count < total else f"{percent}%"
