"""An embedder without a model: texts that share words are near each other."""

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WORD = re.compile(r"\w+")


class HashEmbedder:
    """Each word points in a direction that its hash gives; a text is the sum of its words, brought to length 1.

    The same on every machine and in every process. It knows words, not meanings: `film` and `movie` are strangers.

    Args:
        dimensions: Length of a vector. Two words rarely share a direction from 64 on.
    """

    def __init__(self, dimensions: int = 256) -> None:
        self.dimensions = dimensions
        self.fingerprint = f"hash-words-{dimensions}"

    def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Return one vector per text, in order: shape (number of texts, dimensions), float32, each of length 1."""
        import numpy as np

        return np.array([self._vector(text) for text in texts], dtype=np.float32).reshape(-1, self.dimensions)

    def _vector(self, text: str) -> "NDArray[np.float64]":
        import numpy as np

        total = np.zeros(self.dimensions)
        for word in _WORD.findall(text.casefold()):
            digest = hashlib.sha256(word.encode()).digest()
            total[int.from_bytes(digest[:8], "big") % self.dimensions] += 1 if digest[-1] % 2 else -1
        if not total.any():  # no words, or words of opposite directions
            total[0] = 1
        return total / np.linalg.norm(total)
