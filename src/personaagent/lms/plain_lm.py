"""An LM as the journal asks it: one request, one response, nothing kept, counted or tried again."""

from contextlib import AbstractContextManager

import dspy
from dspy.lm15 import Request, Response

from ..programs.decision_lm import awithout_refused, without_refused


class PlainLM:
    """Asks an LM without its cache and its retries; a replay does not see what the LM refuses.

    Args:
        lm: The LM. It is copied.
    """

    def __init__(self, lm: dspy.LM) -> None:
        self._lm = lm.copy()
        self._lm.num_retries, self._lm.cache = 0, False

    def __call__(self, request: Request) -> Response:
        """Return the response, without log-probabilities if the LM refuses to give any.

        Raises:
            dspy.LMError: There is none.
        """
        with _unobserved():
            return without_refused(self._lm, request)

    async def acall(self, request: Request) -> Response:
        """Do what a call does, awaited."""
        with _unobserved():
            return await awithout_refused(self._lm, request)


def _unobserved() -> AbstractContextManager[None]:
    """Let DSPy count, keep and stream the outer call alone."""
    return dspy.context(usage_tracker=None, disable_history=True, send_stream=None)
