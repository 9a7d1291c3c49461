"""Likeness by letters: for texts in scripts that the embedder has no words for."""

import math
import unicodedata
from collections.abc import Sequence

from ..interaction import normalised

_SIZES = (2, 3, 4)
_MAX_CHARACTERS = 1_000
_DECIMALS = 9


def likeness(query: str, texts: Sequence[str]) -> list[float]:
    """Return the cosine, 0 to 1, between the sets of character n-grams (2 to 4) of `query` and of each text.

    Case, spacing and compatibility forms do not matter. Each emoji counts as a word of its own, wherever it stands.
    Only the first 1,000 characters are compared.
    """
    wanted = _ngrams(query)
    return [_cosine(wanted, _ngrams(text)) for text in texts]


def _ngrams(text: str) -> set[str]:
    folded = normalised(unicodedata.normalize("NFKC", text[:_MAX_CHARACTERS]))
    spaced = "".join(f" {letter} " if unicodedata.category(letter) == "So" else letter for letter in folded)
    padded = f" {' '.join(spaced.split())} "
    return {padded[start : start + size] for size in _SIZES for start in range(len(padded) - size + 1)}


def _cosine(one: set[str], other: set[str]) -> float:
    return round(len(one & other) / math.sqrt(len(one) * len(other)), _DECIMALS)
