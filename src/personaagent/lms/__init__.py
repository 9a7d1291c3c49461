"""The language models and embedders that a program can ask."""

from .embedders import embedder_for_many, open_embedder
from .opening import open_lm

__all__ = ["embedder_for_many", "open_embedder", "open_lm"]
