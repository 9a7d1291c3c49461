"""How good the probabilities of answers are: log loss and calibration error, our metrics beside the official ones.

Only methods that say how probable each answer is have them; see `have_probabilities`. As with the official metrics, no
answer is as bad as the worst one: a question without probabilities counts as a wrong answer that was certain.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..data.task import Task
from .rows import Row

Array = NDArray[np.float64]

LOG_LOSS = "log_loss"
"""The mean of -log p(gold), with p at least `LEAST_PROBABILITY`: 0 to 6.9."""
CALIBRATION_ERROR = "calibration_error"
"""How far the confidence in the most probable answer is from how often it is right, 0 to 1: the mean over `BINS` bins
of equal width, weighted by their questions (Guo et al., On Calibration of Modern Neural Networks, arXiv 1706.04599)."""
LEAST_PROBABILITY = 1e-3
"""A gold that was called impossible does not make the mean infinite."""
BINS = 10
COLUMNS = 1 + 3 * BINS
"""Totals: the log loss; then by bin its questions, their confidence, and how many of them are right."""


def have_probabilities(rows: Sequence[Row]) -> bool:
    """Whether every scored row has probabilities, and not all of them are those of an answer alone (1 and 0)."""
    distributions = [row.probabilities for row in rows if row.status == "scored"]
    return all(distributions) and any(max(of.values()) < 1 for of in distributions if of)


def calibration_totals(task: Task, rows: Sequence[Row]) -> Array:
    """Add up what the probabilities of each question come to.

    Args:
        task: Reads the golds.
        rows: Any rows of the task.

    Returns:
        The totals, as many as `COLUMNS`.
    """
    totals = np.zeros(COLUMNS)
    bins = totals[1:].reshape(3, BINS)
    for row in rows:
        gold = task.parse(row.gold) or row.gold.strip()
        probabilities = row.probabilities or {"": 1.0}
        answer = max(probabilities, key=probabilities.__getitem__)
        confidence = probabilities[answer]
        totals[0] -= math.log(max(probabilities.get(gold, 0.0), LEAST_PROBABILITY))
        bins[:, min(int(confidence * BINS), BINS - 1)] += (1, confidence, answer == gold)
    return totals


def calibration_metrics(totals: Array) -> dict[str, Array]:
    """Return the metrics that totals, or sums of several, come to, in the shape of `totals` without its last axis."""
    questions, confidence, right = np.split(totals[..., 1:], 3, axis=-1)
    asked = questions.sum(axis=-1)
    return {
        LOG_LOSS: totals[..., 0] / asked,
        CALIBRATION_ERROR: np.abs(confidence - right).sum(axis=-1) / asked,
    }
