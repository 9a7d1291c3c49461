"""What a line of a persona may say: words about the user, not a prompt and not a copy of what was asked."""

import re
from collections.abc import Iterable

MAX_CHARACTERS = 300
MARKER = "[[ ##"
"""With this begins each field of a prompt."""
COPIED_WORDS = 5
"""Words in a row that are a copy; a shorter line is one if all of it is."""
_LEAST_WORDS = 3
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_WORD = re.compile(r"\w+")


def refusal_of(text: str, sources: Iterable[str] = ()) -> str | None:
    """Return why a text may not be a line of a persona; None if it may.

    Args:
        text: The line.
        sources: What it may not copy: questions, answers, the form in which it was asked for.
    """
    if len(text) > MAX_CHARACTERS:
        return f"it has {len(text)} characters, and may have at most {MAX_CHARACTERS}"
    if len(text.splitlines()) > 1 or _CONTROL.search(text):
        return "it is not one line of text"
    if MARKER in " ".join(text.split()):
        return f"it has the field marker {MARKER!r}, which prompts are made of"
    if any(_copies(text, source) for source in sources):
        return "it copies the form, or what was asked or said"
    return None


def _copies(text: str, source: str) -> bool:
    words, of_source = (_WORD.findall(one.casefold()) for one in (text, source))
    length = min(COPIED_WORDS, len(words))
    if length < _LEAST_WORDS:
        return False
    runs = {tuple(of_source[at : at + length]) for at in range(len(of_source) - length + 1)}
    return any(tuple(words[at : at + length]) in runs for at in range(len(words) - length + 1))
