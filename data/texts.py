"""Texts: made storable, and compared by their words (ROUGE) or letters."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

from .interaction import normalised

_WORD = re.compile(r"[a-z0-9]+")
_WITHOUT_SPACES = ("CJK ", "HIRAGANA ", "KATAKANA", "HALFWIDTH KATAKANA", "THAI ", "LAO ", "KHMER ", "MYANMAR ")
"""How the Unicode names of letters begin whose scripts put no spaces between words."""
_SIZES = (2, 3, 4)
_MAX_COMPARED = 1_000
_DECIMALS = 9


def clean(text: str) -> str:
    """Return a text without NUL, and with U+FFFD in place of each half of a surrogate pair."""
    return text.replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def all_clean(value: Any) -> Any:
    """Return a JSON value with every text in it clean."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [all_clean(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {clean(str(key)): all_clean(item) for key, item in cast("dict[Any, Any]", value).items()}
    return value


def texts_in(value: Any, *, names: bool = False) -> Iterator[str]:
    """Yield every text in a JSON value; with `names`, those of its fields too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from texts_in(item, names=names)
    elif isinstance(value, dict):
        for name, item in cast("dict[str, Any]", value).items():
            yield from (name,) if names else ()
            yield from texts_in(item, names=names)


class Rouge(NamedTuple):
    """ROUGE-1 and ROUGE-L F-measures of one prediction, 0 to 1, higher is better."""

    rouge1: float
    rouge_l: float


def rouge(prediction: str, gold: str, words: Callable[[str], list[str]]) -> Rouge:
    """Compare the words of a prediction with those of the gold; a text without words scores 0.

    It computes what the `rouge-score` package, which the official LaMP scorer uses, computes without stemming (Lin
    2004). That package is not a dependency, as importing it costs seconds (it imports NLTK); a test compares the two.
    """
    predicted, expected = words(prediction), words(gold)
    in_common = (Counter(predicted) & Counter(expected)).total()
    lengths = len(predicted), len(expected)
    in_order = _longest_common_subsequence(predicted, expected)
    return Rouge(_f_measure(in_common, *lengths), _f_measure(in_order, *lengths))


def ascii_words(text: str) -> list[str]:
    """Return the runs of ASCII letters and digits, lower-cased: the official words of LaMP."""
    return _WORD.findall(text.lower())


def words_of_every_script(text: str) -> list[str]:
    """Return the runs of letters and digits, lower-cased.

    Each letter counts as a word in scripts that put no spaces between words (Chinese, Japanese, Thai, Lao, Khmer,
    Burmese), and so does each emoji.

    Example:
        >>> words_of_every_script("Ein Café 茶屋")
        ['ein', 'café', '茶', '屋']
    """
    found: list[str] = []
    is_open = False  # Whether the next letter may go on with the word before it.
    for letter in unicodedata.normalize("NFKC", text).casefold():
        category = unicodedata.category(letter)
        if category[0] == "M" and found:
            found[-1] += letter
        elif category[0] in "LN" or category == "So":
            alone = category == "So" or unicodedata.name(letter, "").startswith(_WITHOUT_SPACES)
            if is_open and not alone:
                found[-1] += letter
            else:
                found.append(letter)
            is_open = not alone
        else:
            is_open = False
    return found


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


def letter_likeness(query: str, texts: Sequence[str]) -> list[float]:
    """Return the cosine, 0 to 1, between the sets of character n-grams (2 to 4) of `query` and of each text.

    It is for texts in scripts that an embedder has no words for. Case, spacing and compatibility forms do not matter.
    Each emoji counts as a word of its own. Only the first 1,000 characters are compared.
    """
    wanted = _ngrams(query)
    return [_cosine(wanted, _ngrams(text)) for text in texts]


def _ngrams(text: str) -> set[str]:
    folded = normalised(unicodedata.normalize("NFKC", text[:_MAX_COMPARED]))
    spaced = "".join(f" {letter} " if unicodedata.category(letter) == "So" else letter for letter in folded)
    padded = f" {' '.join(spaced.split())} "
    return {padded[start : start + size] for size in _SIZES for start in range(len(padded) - size + 1)}


def _cosine(first: set[str], second: set[str]) -> float:
    return round(len(first & second) / math.sqrt(len(first) * len(second)), _DECIMALS)
