"""A method's work at arm's length: what it came to, what it took, and no error that could stop an evaluation."""

import logging
from collections.abc import Awaitable
from typing import Generic, NamedTuple, TypeVar

import dspy

from ..data.alignment import Spend
from ..data.errors import StoppedError
from ..programs.spend import measure

_LOG = logging.getLogger(__name__)

Result = TypeVar("Result")


class Attempt(NamedTuple, Generic[Result]):
    """What a piece of a method's work came to, and what it took."""

    result: Result | None
    error: Exception | None
    spend: Spend


async def attempt(work: Awaitable[Result]) -> Attempt[Result]:
    """Do a method's work. This is the boundary behind which whatever fails is data, and the run goes on.

    A run that must not go on is not a failure of the method: its `StoppedError` passes. DSPy keeps no trace and no
    history of the work: over thousands of questions they would fill the memory with prompts.
    """
    result, failure = None, None
    with measure() as meter, dspy.context(trace=None, disable_history=True):
        try:
            result = await work
        except StoppedError:
            raise
        except Exception as error:  # noqa: BLE001 - methods are other people's code; the error becomes a row
            _LOG.debug("a method failed", exc_info=error)
            failure = error
    return Attempt(result, failure, meter.spend)
