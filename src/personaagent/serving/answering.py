"""Answers under way: each in a thread, as many at once as is fair to every key, ended when its client is gone."""

import asyncio
import contextvars
import threading
from collections import OrderedDict, defaultdict, deque
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple
from weakref import WeakSet

from ..data.alignment import Spend
from ..data.api_key import ApiKey, Role
from ..data.errors import ErasedUserError, LateError, LimitError, PersonaAgentError, StoppedError
from ..data.interaction import Interaction
from ..data.store import User
from ..data.task import Task
from ..programs.context import NO_CONTEXT, Context
from ..programs.scope import Cancellation
from .claims import Claim, current_claim, new_id

_AT_ONCE = 256
"""Answers under way at most; others wait. Each has a thread to itself: awaited, a call of DSPy's changes threads four
times, which takes longer than anything else that is done for it here."""
_AT_ONCE_OF_KEY: dict[Role, int] = {"user": 8, "tenant": 64, "admin": 64}
"""Of these, answers under way for one key."""
_WAITING_PER_SLOT = 4
"""Times as many answers of a key may wait; the next is refused."""


class Caller(NamedTuple):
    """Who asks, and for whom."""

    key: ApiKey
    user: User


@dataclass(frozen=True)
class Question:
    """What is asked of the server."""

    query: str
    task: Task
    """In which form the answer comes."""
    context: Context = NO_CONTEXT
    remembered: bool = True
    """Whether memory is used, and the exchange stored."""
    on_piece: Callable[[str], None] | None = None
    """Gets the answer in pieces as it is written, in another thread."""
    interaction_id: str = field(default_factory=new_id)


@dataclass(frozen=True)
class Answer:
    """An answer, stored if it is to be remembered."""

    interaction: Interaction
    spend: Spend
    remembered: bool = True
    without_memory: bool = False
    """Whether it was given without the user's episodes, which could not be reached or were not wanted."""


def retrieve_exception(answering: "asyncio.Future[Answer]") -> None:
    """Take the exception of an answer that is not awaited any more: asyncio would log it, with an LM's words in it."""
    if not answering.cancelled():
        answering.exception()


@dataclass
class _Queue:
    """What one key does and waits for."""

    most: int
    running: int = 0
    waiting: deque["asyncio.Future[None]"] = field(default_factory=deque["asyncio.Future[None]"])


class FairSemaphore:
    """Limits what goes on at once, in all and for each key. Those who wait are served key by key.

    It is for use in one event loop.

    Args:
        at_once: How many in all.
    """

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._queues: OrderedDict[str, _Queue] = OrderedDict()

    def waiting(self, key: str) -> int:
        """Return how many of a key wait."""
        return len(self._queues[key].waiting) if key in self._queues else 0

    async def acquire(self, key: str, most: int) -> None:
        """Wait for a slot, of which a key may have `most`, and which `release` must free. Cancelled, it takes none."""
        queue = self._queues.setdefault(key, _Queue(most))
        slot = asyncio.get_running_loop().create_future()
        queue.waiting.append(slot)
        self._wake()
        try:
            await slot
        except asyncio.CancelledError:
            if slot in queue.waiting:
                queue.waiting.remove(slot)
                self._drop_if_empty(key)
            elif not slot.cancelled():
                self.release(key)  # The slot came at the moment of the cancellation.
            raise

    def release(self, key: str) -> None:
        """Free a slot."""
        self._free += 1
        self._queues[key].running -= 1
        self._drop_if_empty(key)
        self._wake()

    @asynccontextmanager
    async def slot(self, key: str, most: int) -> AsyncGenerator[None]:
        """Acquire a slot, and release it at the end of the block."""
        await self.acquire(key, most)
        try:
            yield
        finally:
            self.release(key)

    def _wake(self) -> None:
        while self._free and (key := self._next()) is not None:
            queue = self._queues[key]
            self._queues.move_to_end(key)
            slot = queue.waiting.popleft()
            if slot.cancelled():
                continue
            self._free -= 1
            queue.running += 1
            slot.set_result(None)

    def _next(self) -> str | None:
        return next((key for key, queue in self._queues.items() if queue.waiting and queue.running < queue.most), None)

    def _drop_if_empty(self, key: str) -> None:
        queue = self._queues[key]
        if not queue.waiting and not queue.running:
            del self._queues[key]


class _Running(NamedTuple):
    answer: "Future[Answer]"
    cancellation: Cancellation


class AnswerPool:
    """The threads that answer, and what they are doing.

    Args:
        answer: Answers a question, in the thread that it is called in.
        longest_seconds: After which an answer is cut off.
    """

    def __init__(self, answer: Callable[[Caller, Question], Answer], longest_seconds: float) -> None:
        self._answer, self._longest_seconds = answer, longest_seconds
        self._slots = FairSemaphore(_AT_ONCE)
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="answer")
        self._running: defaultdict[str, dict[str, _Running]] = defaultdict(dict)
        self._refused_users: set[str] = set()
        self._of_erased = WeakSet[Cancellation]()
        self._guard = threading.Lock()

    async def answer(self, caller: Caller, question: Question) -> Answer:
        """Answer a question when a thread is free for its key; see `Deployment.answer`."""
        key_id, most = caller.key.key_id, _AT_ONCE_OF_KEY[caller.key.role]
        if self._slots.waiting(key_id) >= _WAITING_PER_SLOT * most:
            raise LimitError(1, f"{most} answers of this key are under way, and more wait than may: try again later")
        await self._slots.acquire(key_id, most)
        cancellation = Cancellation()
        try:
            answering = asyncio.wrap_future(self._start(caller, question, cancellation))
        except BaseException:
            self._slots.release(key_id)
            raise
        too_late = asyncio.get_running_loop().call_later(self._longest_seconds, cancellation.cut)
        answering.add_done_callback(lambda _: too_late.cancel())
        answering.add_done_callback(lambda _: self._slots.release(key_id))
        answering.add_done_callback(retrieve_exception)
        try:
            return await asyncio.shield(answering)
        except StoppedError as error:
            if cancellation in self._of_erased:
                raise ErasedUserError(caller.user.user_id) from error
            if too_late.when() > asyncio.get_running_loop().time():
                raise
            raise LateError(f"no answer within {self._longest_seconds:g} s") from error
        finally:
            cancellation.cancel()

    def find(self, user_key: str, interaction_id: str) -> "Future[Answer] | None":
        """Return an answer that is under way, if it is."""
        with self._guard:
            running = self._running.get(user_key, {}).get(interaction_id)
        return running and running.answer

    @contextmanager
    def refusing(self, user_key: str) -> Generator[None]:
        """Start no answer for a user while the block runs."""
        with self._guard:
            self._refused_users.add(user_key)
        try:
            yield
        finally:
            self._refused_users.discard(user_key)

    def end(self, user_key: str, seconds: float) -> None:
        """Wait for the answers of a user who is erased, and cut off what takes longer than some seconds."""
        with self._guard:
            running = tuple(self._running.get(user_key, {}).values())
        wait([each.answer for each in running], seconds)
        for each in running:
            self._of_erased.add(each.cancellation)
            each.cancellation.cut()

    def close(self) -> None:
        """Cut off every answer, and start no more."""
        with self._guard:
            running = [each for of_user in self._running.values() for each in of_user.values()]
        for each in running:
            each.cancellation.cut()
        self._threads.shutdown()

    def _start(self, caller: Caller, question: Question, cancellation: Cancellation) -> "Future[Answer]":
        user_key, interaction_id = caller.user.key, question.interaction_id
        context = contextvars.copy_context()

        def answered() -> Answer:
            with cancellation.inside():
                cancellation.stop_if_cancelled()
                return self._answer(caller, question)

        with self._guard:
            if user_key in self._refused_users:
                raise ErasedUserError(caller.user.user_id)
            answer = self._threads.submit(context.run, answered)
            self._running[user_key][interaction_id] = _Running(answer, cancellation)
        answer.add_done_callback(partial(self._ended, user_key, interaction_id, current_claim()))
        return answer

    def _ended(self, user_key: str, interaction_id: str, claim: Claim | None, answer: "Future[Answer]") -> None:
        with self._guard:
            del self._running[user_key][interaction_id]
            if not self._running[user_key]:
                del self._running[user_key]
        if claim is not None and (answer.cancelled() or answer.exception() is not None):
            with suppress(PersonaAgentError):
                claim.give_up()
