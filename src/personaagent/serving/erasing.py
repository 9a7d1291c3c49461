"""Erasing while serving: noted first, done without waiting long for anything, and finished in the background."""

import asyncio
import logging
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..data.errors import PersonaAgentError
from ..data.store import Store, User
from ..erasure import unfinished

if TYPE_CHECKING:
    from ..erasure import Receipt
    from .learning import Learner
    from .under_way import UnderWay

FIRST_LOOK_SECONDS = 5.0
_LONGEST_WAIT_SECONDS = 300.0
_AT_ONCE = 4
_LONGEST_GOODBYE_SECONDS = 10.0
"""How long an erasure waits for answers, and for alignments, of its user."""
_LONGEST_ERASURE_SECONDS = 20.0
"""How long its answer waits for a service that does not answer; the erasure goes on."""

_log = logging.getLogger(__name__)


class Erasures:
    """Erases users, in threads that do nothing else: what an erasure waits for, nobody else does.

    Args:
        store: Where it is noted.
        learner: Ends the user's alignments.
        under_way: Ends the user's answers.
        erase: Removes the user of an id with every trace.
    """

    def __init__(
        self, store: Store, learner: "Learner", under_way: "UnderWay", erase: "Callable[[str], Receipt]"
    ) -> None:
        self._store, self._learner, self._under_way, self._erase = store, learner, under_way, erase
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="erasure")

    async def erase(self, user: User) -> "Receipt":
        """Note that a user is to be erased, then do it; see `people.erase`.

        The user's alignments and answers may end within a few seconds. What goes on longer is cut off and not stored.
        """
        await asyncio.to_thread(self._store.people.tombstones.add, user.key)
        try:
            await asyncio.wait_for(self._learner.stop(user), _LONGEST_GOODBYE_SECONDS)
        except TimeoutError:
            _log.warning("user %s: erased while an alignment goes on", user.key)
        here = asyncio.get_running_loop()
        await here.run_in_executor(self._threads, self._under_way.end, user.key, _LONGEST_GOODBYE_SECONDS)
        going_on = here.run_in_executor(self._threads, self._erase, user.user_id)
        try:
            return await asyncio.wait_for(asyncio.shield(going_on), _LONGEST_ERASURE_SECONDS)
        except TimeoutError:
            return unfinished(user.key)


@contextmanager
def finishing(go_on: Callable[[], bool], first_look_seconds: float | None = None) -> Generator[None]:
    """Go on with erasures while the block runs: soon, and the longer they cannot be finished, the less often.

    Args:
        go_on: Goes on with what there is, and returns whether something is left.
        first_look_seconds: How soon it is looked for the first time, and again when nothing was left.
    """
    over, first = threading.Event(), first_look_seconds or FIRST_LOOK_SECONDS
    thread = threading.Thread(target=_finish, args=(go_on, over, first), name="erasing", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()  # The thread may be waiting for a service: it ends with the process, and another goes on.


def _finish(go_on: Callable[[], bool], over: threading.Event, first_look_seconds: float) -> None:
    wait = first_look_seconds
    while not over.wait(wait):
        try:
            is_left = go_on()
        except PersonaAgentError as error:
            _log.warning("erasures are not finished: %s", type(error).__name__)
            is_left = True
        wait = min(2 * wait, _LONGEST_WAIT_SECONDS) if is_left else first_look_seconds
