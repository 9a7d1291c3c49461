"""An answer in pieces, as the LM writes it, for who listens to the work that runs here."""

import json
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_BEGINNING = re.compile(r'\{\s*"response"\s*:\s*"')
_STRING = re.compile(r'(?:[^"\\]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*')
_HALF = re.compile(r"[\ud800-\udbff]$")


class Pieces:
    """Hands on what an LM writes into the field `response`, each character once.

    What an LM writes anew, because its answer could not be read or its connection was cut, is handed on as far as it
    goes on with what was said.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell, self._said = tell, ""

    def hear(self, written: str) -> None:
        """Take what the LM has written of one answer by now."""
        text = response_in(written).strip()
        if len(text) > len(self._said) and text.startswith(self._said):
            self._tell(text[len(self._said) :])
            self._said = text


class Stream:
    """What DSPy sends the chunks of one call to."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces, self._written = pieces, ""

    @property
    def began(self) -> bool:
        """Whether anything came."""
        return bool(self._written)

    async def send(self, chunk: Any) -> None:
        """Take a chunk."""
        self.write(chunk.choices[0].delta.get("content") or "")

    def write(self, piece: str) -> None:
        """Take what the LM wrote next."""
        if piece:
            self._written += piece
            self._pieces.hear(self._written)


_pieces: ContextVar[Pieces | None] = ContextVar("personaagent_pieces", default=None)


@contextmanager
def telling(tell: Callable[[str], None] | None) -> Generator[None]:
    """Call `tell` with each piece of the answer that is given inside the block, as it is written; None: do not."""
    token = _pieces.set(tell and Pieces(tell))
    try:
        yield
    finally:
        _pieces.reset(token)


def stream_here() -> Stream | None:
    """Return where a call that begins here sends its chunks; None if there is no listener."""
    pieces = _pieces.get()
    return pieces and Stream(pieces)


def response_in(written: str) -> str:
    """Return the text of the field `response`, as far as it is written."""
    if (begun := _BEGINNING.search(written)) is None:
        return ""
    whole = _STRING.match(written, begun.end())
    text = json.loads(f'"{whole.group()}"', strict=False) if whole else ""
    return _HALF.sub("", text)
