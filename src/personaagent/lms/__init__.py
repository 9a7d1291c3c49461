"""The language models and embedders that a program can ask."""

from .opening import open_embedder, open_lm

__all__ = ["open_embedder", "open_lm"]
