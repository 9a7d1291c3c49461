"""ROUGE-1 and ROUGE-L F-measures as the `rouge-score` package computes them without stemming (Lin 2004).

The official LaMP scorer uses that package. It is not a dependency, as importing it costs seconds (it imports NLTK); a
test holds these functions to its results.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

_WORD = re.compile(r"[a-z0-9]+")


class Rouge(NamedTuple):
    """F-measures of one prediction, 0 to 1, higher is better."""

    rouge1: float
    rouge_l: float


def rouge(prediction: str, gold: str) -> Rouge:
    """Compare the words (runs of ASCII letters and digits, lower-cased) of a prediction with those of the gold.

    Two texts of which one has no words score 0.
    """
    predicted, expected = _words(prediction), _words(gold)
    in_common = (Counter(predicted) & Counter(expected)).total()
    words = len(predicted), len(expected)
    return Rouge(_f_measure(in_common, *words), _f_measure(_longest_common_subsequence(predicted, expected), *words))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _f_measure(in_common: int, predicted: int, expected: int) -> float:
    return 2 * in_common / (predicted + expected) if in_common else 0.0


def _longest_common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    lengths = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for column, other in enumerate(second, 1):
            above = lengths[column]
            lengths[column] = diagonal + 1 if word == other else max(above, lengths[column - 1])
            diagonal = above
    return lengths[-1]
