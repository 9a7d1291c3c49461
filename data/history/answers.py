"""What a history's answers are: ratings, labels or text, told from the answers themselves."""

from collections.abc import Collection, Mapping, Sequence

from ..task import OPEN, RATINGS, Task, is_built_in, known_tasks

LEAST_ANSWERS = 8
"""Answers from which labels are told: a few may be alike by chance."""
MOST_LABELS = 20
MOST_CHARACTERS = 40
"""Of a label."""


def task_of(answers: Sequence[str], name: str, columns: Mapping[str, str]) -> Task:
    """Return the task that answers are of.

    Whole numbers from 1 to 5 are ratings. Other answers are labels if they are short, few and each is given twice or
    more on average. Anything else is text.

    Args:
        answers: Of all users.
        name: What the task is called. If one of this name is known, its labels stay, in their order.
        columns: The table's column by field; those that were renamed say in the prompt what is asked.
    """
    labels = _labels(answers)
    if not labels:
        return OPEN
    name = f"{name} answers" if is_built_in(name) else name
    known = known_tasks().get(name)
    if known is not None and set(labels) <= set(known.labels):
        return known
    query, truth = columns.get("query", "query"), columns.get("ground_truth", "ground_truth")
    is_said = (query, truth) != ("query", "ground_truth")
    return Task(
        name=name,
        kind="rating" if labels == RATINGS and known is None else "label",
        labels=tuple(dict.fromkeys((*(known.labels if known else ()), *labels))),
        template=f"{query}: {{content}}\n{truth}?" if is_said else "{content}",
    )


def _labels(answers: Sequence[str]) -> tuple[str, ...]:
    """Return the labels; none if answers are text."""
    different = {answer.removesuffix(".0") for answer in answers}
    if len(answers) < LEAST_ANSWERS or len(different) < 2:
        return ()
    if different.issubset(RATINGS):
        return RATINGS
    different = set(answers)
    is_short = all(len(answer) <= MOST_CHARACTERS and "\n" not in answer for answer in different)
    return _in_order(different) if is_short and len(different) <= min(MOST_LABELS, len(answers) // 2) else ()


def _in_order(labels: Collection[str]) -> tuple[str, ...]:
    """Return labels in alphabetical order, numbers by their size."""
    if all(label.replace(".", "", 1).isdecimal() for label in labels):
        return tuple(sorted(labels, key=float))
    return tuple(sorted(labels))
