"""An embedder by its name."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..data.call import ANSWER_SECONDS
from ..data.errors import LMError, UnknownNameError, without_secrets
from .awaiting import awaited
from .models import MODELS
from .opening import use_bundled_prices

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..data.memory.embedder import Embedder

_MINILM = "minilm"


def open_embedder(name: str = _MINILM) -> "Embedder":
    """Return the embedder of this name. Files are read, and servers asked, when the first vector is.

    Args:
        name: `minilm` runs in this process (English); `openai/text-embedding-3-small` and the like are asked through
            DSPy, with the key of the provider's usual variable.

    Raises:
        UnknownNameError: It is neither.
    """
    if "/" in name:
        use_bundled_prices()
        return DspyEmbedder(name)
    if name != _MINILM:
        raise UnknownNameError("embedder", name, [_MINILM, "openai/text-embedding-3-small and the like"])
    from ..data.memory.embedder import MiniLmEmbedder

    return MiniLmEmbedder(*MODELS[_MINILM].locations)


class DspyEmbedder:
    """An embedder that DSPy reaches by name, through LiteLLM. Its cache is off.

    Args:
        name: `provider/model`.
    """

    def __init__(self, name: str) -> None:
        import dspy

        self.name = name
        self._embedder = dspy.Embedder(name, caching=False)
        self._dimensions: int | None = None

    @property
    def dimensions(self) -> int:
        """Length of a vector, found out by asking for one."""
        if self._dimensions is None:
            self._dimensions = int(self.embed(["length"]).shape[1])
        return self._dimensions

    @property
    def fingerprint(self) -> str:
        """The model and the length of its vectors."""
        return f"{self.name}-{self.dimensions}"

    def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Return one vector per text, in order: shape (number of texts, dimensions), float32, each of length 1.

        Raises:
            LMError: The provider could not be reached, or refused.
        """
        import numpy as np
        from openai import OpenAIError

        if not texts:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        try:
            vectors = awaited(asyncio.wait_for(self._embedder.acall([text or " " for text in texts]), ANSWER_SECONDS))
        except OpenAIError as error:
            raise LMError(without_secrets(f"embedder {self.name}: {error}")) from error
        except TimeoutError as error:
            raise LMError(f"embedder {self.name}: no whole answer within {ANSWER_SECONDS:g} s") from error
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
