"""The score of one simulated interaction, from 0 to 1, by which a change is judged."""

import math

from ..data.answer_weights import Distribution
from ..data.errors import InputError
from ..data.task import Task, compared

LEAST_PROBABILITY = 0.02
"""Anything less probable scores 0, so that one surprise cannot outweigh everything else."""
_GREATEST_ERROR = 4
"""Between the ratings 1 and 5."""


def score_of(probabilities: Distribution | None, response: str | None, ground_truth: str, task: Task) -> float:
    """Return how well an answer meets the ground truth: 1 at best, 0 at worst.

    With probabilities it is their logarithmic score, `1 + log(max(p(truth), .02)) / log(50)`. Without them, or if they
    are one-hot, it is 0 or 1 for a label, `1 - |error| / 4` for a rating and ROUGE-L (F) for text. The two scales
    differ: compare only scores that were made in the same way.

    Args:
        probabilities: By answer, or None.
        response: The answer; None, or one that is not in the form of the task, scores 0 without probabilities.
        ground_truth: What the user really answered.
        task: What was asked.

    Raises:
        InputError: The ground truth is no answer of the task.
    """
    truth = task.parse(ground_truth)
    if truth is None:
        raise InputError(f"ground truth {ground_truth!r} is no answer of task {task.name!r}: leave its interaction out")
    if probabilities and max(probabilities.values()) < 1:
        return _logarithmic(probabilities.get(truth, 0.0))
    answer = None if response is None else task.parse(response)
    if answer is None:
        return 0.0
    if task.kind == "text":
        return compared(task, answer, truth).rouge_l
    if task.kind == "rating":
        return 1 - abs(int(answer) - int(truth)) / _GREATEST_ERROR
    return float(answer == truth)


def _logarithmic(probability: float) -> float:
    return 1 - math.log(max(probability, LEAST_PROBABILITY)) / math.log(LEAST_PROBABILITY)
