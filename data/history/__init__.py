"""Histories of one's own: files, exports and tables become interactions."""

from .reading import History, read_history

__all__ = ["History", "read_history"]
