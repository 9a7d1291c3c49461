"""An LM as the journal asks it: one request, one response, nothing kept, counted or tried again."""

import asyncio
import math
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import dspy
from dspy.lm15 import Request, Response, TextPart, ThinkingPart

from ..data.call import ANSWER_SECONDS
from ..data.texts import clean
from ..programs.pieces import Stream, stream_here
from ..programs.refusals import awithout_refused, without_refused
from .awaiting import awaited


class PlainLM:
    """Asks an LM without its cache and its retries; a replay does not see what the LM's server refuses.

    Args:
        lm: The LM. It is copied.
    """

    def __init__(self, lm: dspy.LM) -> None:
        self._lm = lm.copy()
        self._lm.num_retries, self._lm.cache = 0, False
        self._streams = True
        self.timeout = _timeout(lm)
        """Seconds that one attempt may take; None for an engine in this process, which cannot be cut off."""

    def __call__(self, request: Request) -> Response:
        """Return the response, with clean text, and without what the LM's server refuses.

        Raises:
            dspy.LMError: There is none, or not in time.
        """
        if self.timeout is not None:
            return awaited(self.acall(request))
        with _unobserved():
            return _cleaned(without_refused(self._lm, request))

    async def acall(self, request: Request) -> Response:
        """Do what a call does, awaited."""
        try:
            async with asyncio.timeout(self.timeout):
                return _cleaned(await self._streamed(request, _stream_of(request)))
        except TimeoutError as error:
            raise dspy.LMTimeoutError(f"no whole answer within {self.timeout:g} s", model=self._lm.model) from error

    async def _streamed(self, request: Request, stream: Stream | None) -> Response:
        """Ask, and let `stream` hear the answer as it is written, unless the LM's server does not stream."""
        if stream is not None and self._streams:
            try:
                with _unobserved(stream):
                    return await awithout_refused(self._lm, request)
            except (dspy.LMInvalidRequestError, dspy.LMProviderError):
                if stream.began:
                    raise
        with _unobserved():
            response = await awithout_refused(self._lm, request)
        self._streams = self._streams and stream is None
        return response


def _timeout(lm: dspy.LM) -> float | None:
    if not isinstance(lm.engine, str):
        return None
    seconds: Any = lm.kwargs.get("timeout")
    return float(seconds) if isinstance(seconds, int | float) and 0 < seconds < math.inf else ANSWER_SECONDS


def _cleaned(response: Response) -> Response:
    parts = tuple(
        replace(part, text=clean(part.text)) if isinstance(part, TextPart | ThinkingPart) else part
        for part in response.message.parts
    )
    return replace(response, message=replace(response.message, parts=parts))


def _unobserved(stream: Stream | None = None) -> AbstractContextManager[None]:
    """Let DSPy count and keep the outer call alone, and stream where somebody listens."""
    return dspy.context(usage_tracker=None, disable_history=True, send_stream=stream)


def _stream_of(request: Request) -> Stream | None:
    """Return what hears the answer; a decision is heard when it is weighed."""
    decides = request.config.probabilities is not None or request.config.logprobs is not None
    return None if decides else stream_here()
