"""An embedder that embeds a text once: the methods of an evaluation all look at the same histories."""

from collections.abc import Sequence
from threading import Lock

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from ..data.memory.embedder import Embedder, is_unknown

MOST_TEXTS = 50_000
"""Vectors that are kept: of 384 numbers each, 77 MB."""

_vectors: LRUCache[tuple[str, str], NDArray[np.float32]] = LRUCache(MOST_TEXTS)
_lock = Lock()


class Remembering:
    """Keeps the latest vectors for all methods of this process.

    Args:
        embedder: Makes them.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @property
    def fingerprint(self) -> str:
        """That of the embedder."""
        return self._embedder.fingerprint

    @property
    def dimensions(self) -> int:
        """Those of the embedder."""
        return self._embedder.dimensions

    def unknown_share(self, text: str) -> float:
        """Return 1 if the embedder has no words for most of a text, else 0."""
        return float(is_unknown(self._embedder, text))

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one vector per text, in order, of length 1: shape (number of texts, dimensions)."""
        name = self.fingerprint
        with _lock:
            known = {text: _vectors[name, text] for text in texts if (name, text) in _vectors}
        new = [text for text in dict.fromkeys(texts) if text not in known]
        made = dict(zip(new, self._embedder.embed(new), strict=True)) if new else {}
        with _lock:
            _vectors.update({(name, text): vector for text, vector in made.items()})
        found = {**known, **made}
        return np.stack([found[text] for text in texts]) if texts else self._embedder.embed([])
