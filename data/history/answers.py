"""What a history's answers are: ratings, labels or text, told from the answers themselves."""

from collections.abc import Collection, Mapping, Sequence

from ..task import OPEN, RATINGS, Task, known_tasks

LEAST_ANSWERS = 8
"""Answers from which labels are told: a few may be alike by chance."""
MOST_LABELS = 20
MOST_CHARACTERS = 40
"""Of a label."""


def task_of(answers: Sequence[str], columns: Mapping[str, str], *, words: bool = False) -> Task:
    """Return the task that answers are of: ratings from 1 to 5, other numbers as labels, or words as labels.

    Words are labels only if that is wanted: a task is known to the whole home, and outlives the user who said them.

    Args:
        answers: Of all users.
        columns: The table's column by field; renamed ones name the task, and say in the prompt what is asked.
        words: Whether answers in words are labels.
    """
    labels = labels_of(answers)
    if not labels or not (words or _are_numbers(labels)):
        return OPEN
    query, truth = columns.get("query", "query"), columns.get("ground_truth", "ground_truth")
    is_said = (query, truth) != ("query", "ground_truth")
    unsaid = "ratings" if labels == RATINGS else "labels"
    name = f"{truth} of {query}" if is_said else unsaid
    known = known_tasks().get(name)
    if known is not None and set(labels) <= set(known.labels):
        return known
    return Task(
        name=name,
        kind="rating" if labels == RATINGS and known is None else "label",
        labels=tuple(dict.fromkeys((*(known.labels if known else ()), *labels))),
        template=f"{query}: {{content}}\n{truth}?" if is_said else "{content}",
    )


def labels_of(answers: Sequence[str]) -> tuple[str, ...]:
    """Return what could be the labels: few short answers, each given twice or more on average; else none."""
    different = set(answers)
    if len(answers) < LEAST_ANSWERS or len(different) < 2:
        return ()
    if {answer.removesuffix(".0") for answer in different}.issubset(RATINGS):
        return RATINGS
    is_short = all(len(answer) <= MOST_CHARACTERS and "\n" not in answer for answer in different)
    return _in_order(different) if is_short and len(different) <= min(MOST_LABELS, len(answers) // 2) else ()


def _in_order(labels: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted(labels, key=float)) if _are_numbers(labels) else tuple(sorted(labels))


def _are_numbers(labels: Collection[str]) -> bool:
    return all(label.replace(".", "", 1).isdecimal() for label in labels)
