"""The scope of the work: for which user, and where in it. It tells apart LM calls that say the same.

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
    is_stored: bool = True
    """Whether the user is one of the store, who may be erased; the users of an evaluation are those of its files."""


_NOWHERE = Scope()
_current: ContextVar[Scope] = ContextVar("personaagent_scope", default=_NOWHERE)


def current_scope() -> Scope:
    """Return the scope of the work that runs here."""
    return _current.get()


@contextmanager
def within(*place: str, user_key: str | None = None, is_stored: bool | None = None) -> Generator[None]:
    """Run the block as this part of the work, and for this user if one is named, who is stored or is not.

    Example:
        >>> with within("question 110", user_key=user.key):
        ...     program(query="...")
    """
    outer = _current.get()
    inner = Scope(
        outer.user_key if user_key is None else user_key,
        (*outer.place, *place),
        outer.is_stored if is_stored is None else is_stored,
    )
    token = _current.set(inner)
    try:
        yield
    finally:
        _current.reset(token)
