"""Whose work is being done, and where in it: what tells one LM call from another that says the same.

A scope follows the work into its tasks and into threads that inherit their context, as DSPy's own settings do.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple


class Scope(NamedTuple):
    """A user and a place in the work."""

    user_key: str = ""
    place: tuple[str, ...] = ()


_NOWHERE = Scope()
_current: ContextVar[Scope] = ContextVar("personaagent_scope", default=_NOWHERE)


def current_scope() -> Scope:
    """Return the scope of whatever runs here."""
    return _current.get()


@contextmanager
def within(*place: str, user_key: str | None = None) -> Generator[None]:
    """Say that what is done inside is done in this part of the work, and for this user if one is named.

    Example:
        >>> with within("question 110", user_key=user.key):
        ...     program(query="...")
    """
    outer = _current.get()
    inner = Scope(outer.user_key if user_key is None else user_key, (*outer.place, *place))
    token = _current.set(inner)
    try:
        yield
    finally:
        _current.reset(token)
