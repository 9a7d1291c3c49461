"""A text that several methods want is embedded once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from personaagent.evaluation.resources import CachedEmbedder
from personaagent.testing import HashEmbedder


class Counting(HashEmbedder):
    def __init__(self) -> None:
        super().__init__()
        self.fingerprint = "counting"
        self.embedded: list[str] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.embedded += texts
        return super().embed(texts)


def test_a_text_is_embedded_once_for_all_methods() -> None:
    counting = Counting()
    wanted = counting.embed(["a film", "a book", "a film"])
    counting.embedded.clear()
    for _ in range(2):
        found = CachedEmbedder(counting).embed(["a film", "a book", "a film"])
        assert np.array_equal(found, wanted)
    assert counting.embedded == ["a film", "a book"]
    assert CachedEmbedder(counting).embed([]).shape == (0, counting.dimensions)
