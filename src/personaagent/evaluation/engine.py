"""Engines: where the users of one method are answered. In this process; or on a cluster, see `ray_engine.py`."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from ..data.task import Task
from .answering import Answering, Hear, MethodWork, a_few_at_once
from .calibrating import with_weights
from .workbench import Workbench


class Engine(Protocol):
    """Has the questions of every user answered."""

    async def answer(self, work: MethodWork, hear: Hear) -> None:
        """Answer every question of every user of `work` once.

        Args:
            work: What is to be done, in the scope around this call.
            hear: Is told of each row once, in any order, in this event loop.
        """
        ...


class LocalEngine:
    """Answers in this process, with the LMs of the DSPy context around it.

    At most `concurrency` users are under way at once, each with one question at a time.

    Args:
        bench: Makes what a method works with; each method gets one of its own.
    """

    def __init__(self, bench: Callable[[Task], Workbench] = Workbench) -> None:
        self._bench = bench

    async def answer(self, work: MethodWork, hear: Hear) -> None:
        """Answer the users, a few at a time."""
        with self._bench(work.task) as bench, ThreadPoolExecutor(work.concurrency) as threads:
            work = await with_weights(work, bench)
            bench.learn_of(work)
            answering = Answering(work, bench, threads)
            await a_few_at_once(work.concurrency, work.users, lambda user: answering.answer(user, hear))
