"""Answers under way: each in a thread, in turns that are fair to every key, ended when nobody waits for them."""

import asyncio
import contextvars
import threading
from collections import defaultdict
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakSet

from ..data.api_key import Role
from ..data.errors import ErasedUserError, LateError, LimitError, PersonaAgentError, StoppedError
from ..programs.cancelling import Cancellation
from .idempotency import Claim, claim_here
from .question import Answer, Question, taken
from .turns import Turns

if TYPE_CHECKING:
    from .access import Caller

_AT_ONCE = 256
"""Answers under way at most; others wait. Each has a thread to itself: awaited, a call of DSPy's changes threads four
times, which takes longer than anything else that is done for it here."""
_AT_ONCE_OF_KEY: dict[Role, int] = {"user": 8, "tenant": 64, "admin": 64}
"""Of these, answers under way for one key."""
_WAITING_PER_TURN = 4
"""Times as many answers of a key may wait for their turn; the next is refused."""


class _Begun(NamedTuple):
    answer: "Future[Answer]"
    cancellation: Cancellation


class UnderWay:
    """The answers that this process is giving.

    Args:
        answer: Answers a question, in the thread that it is called in.
        longest_seconds: After which an answer is cut off.
    """

    def __init__(self, answer: "Callable[[Caller, Question], Answer]", longest_seconds: float) -> None:
        self._answer, self._longest_seconds = answer, longest_seconds
        self._turns = Turns(_AT_ONCE)
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="answer")
        self._begun: defaultdict[str, dict[str, _Begun]] = defaultdict(dict)
        self._leaving: set[str] = set()
        self._of_erased = WeakSet[Cancellation]()
        self._guard = threading.Lock()

    async def answer(self, caller: "Caller", question: Question) -> Answer:
        """Answer a question when it is its key's turn.

        Cancelled while it waits for its turn, it is not begun. Cancelled later, it makes no further call to the LM.

        Raises:
            LimitError: Too many answers of this key wait.
            LateError: It took too long.
            ErasedUserError: The user is being erased.
        """
        key_id, most = caller.key.key_id, _AT_ONCE_OF_KEY[caller.key.role]
        if self._turns.waiting(key_id) >= _WAITING_PER_TURN * most:
            raise LimitError(1, f"{most} answers of this key are under way, and more wait than may: try again later")
        await self._turns.take(key_id, most)
        cancellation = Cancellation()
        try:
            answering = asyncio.wrap_future(self._begin(caller, question, cancellation))
        except BaseException:
            self._turns.give_back(key_id)
            raise
        too_late = asyncio.get_running_loop().call_later(self._longest_seconds, cancellation.cut)
        answering.add_done_callback(lambda _: too_late.cancel())
        answering.add_done_callback(lambda _: self._turns.give_back(key_id))
        answering.add_done_callback(taken)
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
            begun = self._begun.get(user_key, {}).get(interaction_id)
        return begun and begun.answer

    @contextmanager
    def none_of(self, user_key: str) -> Generator[None]:
        """Begin no answer for a user while the block runs."""
        with self._guard:
            self._leaving.add(user_key)
        try:
            yield
        finally:
            self._leaving.discard(user_key)

    def end(self, user_key: str, seconds: float) -> None:
        """Wait for the answers of a user who is erased, and cut off what takes longer than some seconds."""
        with self._guard:
            begun = tuple(self._begun.get(user_key, {}).values())
        wait([one.answer for one in begun], seconds)
        for one in begun:
            self._of_erased.add(one.cancellation)
            one.cancellation.cut()

    def close(self) -> None:
        """Cut off every answer, and begin none."""
        with self._guard:
            begun = [one for of_user in self._begun.values() for one in of_user.values()]
        for one in begun:
            one.cancellation.cut()
        self._threads.shutdown()

    def _begin(self, caller: "Caller", question: Question, cancellation: Cancellation) -> "Future[Answer]":
        user_key, interaction_id = caller.user.key, question.interaction_id
        here = contextvars.copy_context()

        def answered() -> Answer:
            with cancellation.inside():
                cancellation.stop_if_cancelled()
                return self._answer(caller, question)

        with self._guard:
            if user_key in self._leaving:
                raise ErasedUserError(caller.user.user_id)
            begun = self._threads.submit(here.run, answered)
            self._begun[user_key][interaction_id] = _Begun(begun, cancellation)
        begun.add_done_callback(partial(self._over, user_key, interaction_id, claim_here()))
        return begun

    def _over(self, user_key: str, interaction_id: str, claim: Claim | None, answered: "Future[Answer]") -> None:
        with self._guard:
            del self._begun[user_key][interaction_id]
            if not self._begun[user_key]:
                del self._begun[user_key]
        if claim is not None and (answered.cancelled() or answered.exception() is not None):
            with suppress(PersonaAgentError):
                claim.give_up()
