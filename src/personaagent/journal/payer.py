"""Who pays for a call: the meter of whoever it is made for, asked before each call."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from ..data.call import Cost


class Reservation(Protocol):
    """What is set aside for one call."""

    def settle(self, charged: Cost) -> None:
        """Charge what the call has cost in place of what was set aside."""
        ...


class Payer(Protocol):
    """A meter."""

    def reserve(self, worst: Cost) -> Reservation:
        """Set aside what a call may cost at most, before it is made.

        Raises:
            LimitError: The call may not be made.
            StorageError: The store could not be written.
        """
        ...


_payer: ContextVar[Payer | None] = ContextVar("personaagent_payer", default=None)


def payer_here() -> Payer | None:
    """Return who pays for the calls that are made here; None if it is only the run itself."""
    return _payer.get()


@contextmanager
def paid_by(payer: Payer) -> Generator[None]:
    """Let a payer pay for every call to an LM that is made inside, in threads too that inherit their context."""
    token = _payer.set(payer)
    try:
        yield
    finally:
        _payer.reset(token)
