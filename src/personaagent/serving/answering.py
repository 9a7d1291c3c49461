"""Answers under way: each in a thread, as many at once as is fair to every key, ended when its client is gone."""

import asyncio
import contextvars
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple
from weakref import WeakSet, WeakValueDictionary

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
"""Answers under way for one key, by its role."""
_WAITING_PER_SLOT = 4
"""How many answers of a key may wait for each that may be under way; the next is refused."""


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


class FairSemaphore:
    """Limits what goes on at once, in all and for each key. A key has no more than its own limit in the common line.

    It is for use in one event loop.
    """

    def __init__(self, at_once: int) -> None:
        self._all = asyncio.Semaphore(at_once)
        self._of_keys: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._waiting = Counter[str]()

    def waiting(self, key: str) -> int:
        """Return how many of a key wait."""
        return self._waiting[key]

    async def acquire(self, key: str, most: int) -> Callable[[], None]:
        """Wait for a slot, of which a key may have `most`, and return what releases it. Cancelled, it takes none."""
        own = self._of_keys.setdefault(key, asyncio.Semaphore(most))
        self._waiting[key] += 1
        try:
            await own.acquire()
            try:
                await self._all.acquire()
            except asyncio.CancelledError:
                own.release()
                raise
        finally:
            self._waiting -= Counter([key])

        def release() -> None:
            self._all.release()
            own.release()

        return release

    @asynccontextmanager
    async def slot(self, key: str, most: int) -> AsyncGenerator[None]:
        """Acquire a slot, and release it at the end of the block."""
        release = await self.acquire(key, most)
        try:
            yield
        finally:
            release()


class _Running(NamedTuple):
    answer: "Future[Answer]"
    cancellation: Cancellation


class AnswerPool:
    """The threads that answer, and what they are doing. What takes longer than `longest_seconds` is cut off."""

    def __init__(self, answer: Callable[[Caller, Question], Answer], longest_seconds: float) -> None:
        self._answer, self._longest_seconds = answer, longest_seconds
        self._slots = FairSemaphore(_AT_ONCE)
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="answer")
        self._running: dict[tuple[str, str], _Running] = {}
        self._refused_users: set[str] = set()
        self._of_erased = WeakSet[Cancellation]()
        self._guard = threading.Lock()

    async def answer(self, caller: Caller, question: Question) -> Answer:
        """Answer a question when a thread is free for its key; see `Deployment.answer`."""
        key_id, most = caller.key.key_id, _AT_ONCE_OF_KEY[caller.key.role]
        if self._slots.waiting(key_id) >= _WAITING_PER_SLOT * most:
            raise LimitError(1, f"{most} answers of this key are under way, and more wait than may: try again later")
        release = await self._slots.acquire(key_id, most)
        cancellation = Cancellation()
        try:
            answering = asyncio.wrap_future(self._start(caller, question, cancellation))
        except BaseException:
            release()
            raise
        too_late = asyncio.get_running_loop().call_later(self._longest_seconds, cancellation.cut)
        answering.add_done_callback(lambda _: too_late.cancel())
        answering.add_done_callback(lambda _: release())
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
        running = self._running.get((user_key, interaction_id))
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
            running = [each for (of_user, _), each in self._running.items() if of_user == user_key]
        wait([each.answer for each in running], seconds)
        for each in running:
            self._of_erased.add(each.cancellation)
            each.cancellation.cut()

    def close(self) -> None:
        """Cut off every answer, and start no more."""
        with self._guard:
            running = list(self._running.values())
        for each in running:
            each.cancellation.cut()
        self._threads.shutdown()

    def _start(self, caller: Caller, question: Question, cancellation: Cancellation) -> "Future[Answer]":
        name, context = (caller.user.key, question.interaction_id), contextvars.copy_context()

        def answered() -> Answer:
            with cancellation.inside():
                cancellation.stop_if_cancelled()
                return self._answer(caller, question)

        with self._guard:
            if caller.user.key in self._refused_users:
                raise ErasedUserError(caller.user.user_id)
            answer = self._threads.submit(context.run, answered)
            self._running[name] = _Running(answer, cancellation)
        answer.add_done_callback(partial(self._ended, name, current_claim()))
        return answer

    def _ended(self, name: tuple[str, str], claim: Claim | None, answer: "Future[Answer]") -> None:
        with self._guard:
            del self._running[name]
        if claim is not None and (answer.cancelled() or answer.exception() is not None):
            with suppress(PersonaAgentError):
                claim.give_up()
