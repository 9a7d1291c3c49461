"""Calls that end at a deadline, from threads too: what is awaited can be cut off, a thread that waits cannot.

A thread's call is awaited in one event loop of this process, which has a thread of its own. At the deadline the call is
cancelled, and its connection closed, whatever the server still sends.
"""

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Any, TypeVar

from ..data.errors import StoppedError
from ..programs.cancelling import cancellation_here

Result = TypeVar("Result")

_loops: list[asyncio.AbstractEventLoop] = []
_starting = threading.Lock()
os.register_at_fork(after_in_child=_loops.clear)


def awaited(work: Coroutine[Any, Any, Result]) -> Result:
    """Return what a coroutine comes to; it is awaited elsewhere, with the context of the caller.

    Raises:
        StoppedError: The work that this is part of was cut off; see `Cancellation`.
    """
    doing = asyncio.run_coroutine_threadsafe(work, _loop())
    try:
        with cancellation_here().cutting(doing.cancel):
            return doing.result()
    except CancelledError:
        raise StoppedError("this work was cut off: its call was not waited for") from None
    except BaseException:
        doing.cancel()
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
