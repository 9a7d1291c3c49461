"""The nouns, and where they rest."""

from . import lamp  # Its tasks are in the registry wherever the registry is used.

__all__ = ["lamp"]
