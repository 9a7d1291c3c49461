"""How long a call is waited for, and whether and when it is made again."""

import math
import random
import time

import dspy
from dspy.utils import exceptions

MOST_ATTEMPTS = 4
"""Attempts at one call: 429, 5xx, timeouts, cut connections and replies that are no JSON are tried again."""
LONGEST_WAIT_SECONDS = 60.0


class Patience:
    """The attempts at one call. None begins later than four timeouts after the first.

    Args:
        timeout: Seconds that one attempt may take; None where it cannot be cut off.
    """

    def __init__(self, timeout: float | None) -> None:
        self._longest = math.inf if timeout is None else MOST_ATTEMPTS * timeout
        self._attempts = 0
        self._began = 0.0

    def begin(self) -> None:
        """Count an attempt that begins now."""
        self._began = self._began or time.monotonic()
        self._attempts += 1

    def wait_after(self, error: dspy.LMError) -> float | None:
        """Return how long to wait after a failed attempt; None if there is no other."""
        wait = _wait(error, self._attempts)
        too_late = time.monotonic() + wait - self._began > self._longest
        return None if self._attempts == MOST_ATTEMPTS or too_late or not _may_pass(error) else wait


def _may_pass(error: dspy.LMError) -> bool:
    """Whether the same call may succeed in a moment: DSPy gives up on a reply that arrived broken, but it may pass."""
    is_broken_reply = type(error) is exceptions.LMProviderError and error.status == 200
    return is_broken_reply or dspy.is_retryable_lm_error(error)


def _wait(error: dspy.LMError, attempt: int) -> float:
    """Return how long to wait: as long as the service says, else twice as long each time, never all at once."""
    if error.retry_after is not None:
        return min(float(error.retry_after), LONGEST_WAIT_SECONDS)
    return min(2.0 ** (attempt - 1), LONGEST_WAIT_SECONDS) * random.uniform(0.5, 1.0)
