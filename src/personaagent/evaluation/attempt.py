"""A method's work at arm's length: what it came to, what it took, and no error that could stop an evaluation."""

import logging
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import dspy

from ..data.alignment import Spend
from ..data.errors import StoppedError
from ..programs.spend import measure

_LOG = logging.getLogger(__name__)

NOTHING = Spend()

Result = TypeVar("Result")


class Attempt(NamedTuple, Generic[Result]):
    """What a piece of a method's work came to, and what it took."""

    result: Result | None
    error: Exception | None
    spend: Spend


async def attempt(work: Awaitable[Result]) -> Attempt[Result]:
    """Await a method's work; see `attempt_here`."""
    result = None
    with _kept() as kept:
        result = await work
    return Attempt(result, kept.error, kept.spend)


def attempt_here(work: Callable[[], Result]) -> Attempt[Result]:
    """Do a method's work, in this thread: whatever fails beyond this boundary is data, and the run goes on.

    A run that must not go on is not a failure of the method: its `StoppedError` passes. DSPy keeps no trace and no
    history of the work: over thousands of questions they would fill the memory with prompts.
    """
    result = None
    with _kept() as kept:
        result = work()
    return Attempt(result, kept.error, kept.spend)


@dataclass
class _Kept:
    error: Exception | None = None
    spend: Spend = NOTHING


@contextmanager
def _kept() -> Generator[_Kept]:
    kept = _Kept()
    with measure() as meter, dspy.context(trace=None, disable_history=True):
        try:
            yield kept
        except StoppedError:
            raise
        except Exception as error:  # noqa: BLE001 - methods are other people's code; the error becomes a row
            _LOG.debug("a method failed", exc_info=error)
            kept.error = error
    kept.spend = meter.spend
