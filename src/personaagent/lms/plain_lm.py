"""An LM as the journal asks it: one request, one response by the deadline, nothing kept, counted or tried again.

What is awaited can be cut off, a thread that waits cannot. So a thread's call is awaited in one event loop of this
process, which has a thread of its own. At the deadline the call is cancelled and its connection closed, whatever the
server still sends.
"""

import asyncio
import math
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, TypeVar

import dspy
from dspy.lm15 import Request, Response, TextPart, ThinkingPart

from ..data.call import ANSWER_SECONDS
from ..data.errors import StoppedError
from ..data.texts import clean
from ..programs.refusals import awithout_refused, without_refused
from ..programs.scope import cancellation_here
from ..programs.streaming import Stream, stream_here

Result = TypeVar("Result")

_loops: list[asyncio.AbstractEventLoop] = []
_starting = threading.Lock()
os.register_at_fork(after_in_child=_loops.clear)


class PlainLM:
    """Asks an LM without its cache and its retries; a replay does not see what the LM's server refuses."""

    def __init__(self, lm: dspy.LM) -> None:
        self._lm = lm.copy()
        self._lm.num_retries, self._lm.cache = 0, False
        self._streams = True
        self.timeout = _timeout(lm)
        """Seconds that one attempt may take; None for an engine in this process, which cannot be cut off."""

    def __call__(self, request: Request) -> Response:
        """Return the response, with clean text, and without what the LM's server refuses."""
        if self.timeout is not None:
            return _cleaned(awaited(self._by_the_deadline(request)))
        with _unobserved():
            return _cleaned(without_refused(self._lm, request))

    async def _by_the_deadline(self, request: Request) -> Response:
        try:
            async with asyncio.timeout(self.timeout):
                return await self._streamed(request, _stream_of(request))
        except TimeoutError as error:
            raise dspy.LMTimeoutError(f"no whole answer within {self.timeout:g} s", model=self._lm.model) from error

    async def _streamed(self, request: Request, stream: Stream | None) -> Response:
        """Ask, and send the answer to `stream` as it is written, unless the LM's server does not stream."""
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


def awaited(work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of a coroutine, which is awaited in another thread with the context of the caller.

    Raises:
        StoppedError: The work that this is part of was cut off; see `Cancellation`.
    """
    future = asyncio.run_coroutine_threadsafe(work, _loop())
    try:
        with cancellation_here().cutting(future.cancel):
            return future.result()
    except CancelledError:
        raise StoppedError("this work was cut off: its call was not waited for") from None
    except BaseException:
        future.cancel()
        raise


def _loop() -> asyncio.AbstractEventLoop:
    with _starting:
        if not _loops:
            loop = asyncio.new_event_loop()
            # Of its own: what else waits in threads, for the address of another server say, must not hold up a call.
            loop.set_default_executor(ThreadPoolExecutor(32, thread_name_prefix="lm-calls"))
            threading.Thread(target=loop.run_forever, name="lm-calls", daemon=True).start()
            _loops.append(loop)
        return _loops[0]


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
    """Let DSPy count and keep the outer call alone, and stream to `stream` if there is one."""
    return dspy.context(usage_tracker=None, disable_history=True, send_stream=stream)


def _stream_of(request: Request) -> Stream | None:
    """Return where the answer is streamed to; a decision is not streamed, it is sent when it is weighed."""
    decides = request.config.probabilities is not None or request.config.logprobs is not None
    return None if decides else stream_here()
