"""The language models and embedders that a program can ask."""

from .embedders import open_embedder
from .opening import open_lm

__all__ = ["open_embedder", "open_lm"]
