"""What all requests share: the store, the LMs, and the programs that answer."""

import asyncio
import logging
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import datetime
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

import dspy
from cachetools import LRUCache

from ..certificates import Certificates
from ..data.alignment import Spend
from ..data.errors import PersonaAgentError, StorageError, UnknownUserError
from ..data.store import Store, User
from ..data.task import Task
from ..erasure import Receipt, erase, finish_erasures, unfinished
from ..journal import AGENT, OpenRun
from ..journal.budget import paid_by
from ..personas import exchange_of, live_persona, program
from ..programs.scope import cancellation_here, measure, within
from ..programs.streaming import telling
from .answering import Answer, AnswerPool, Caller, FairSemaphore, Question, retrieve_exception
from .claims import was_begun_before
from .learning import Learner
from .limits import Limiter
from .observing import AnswerTracker
from .workers import Workers

if TYPE_CHECKING:
    from ..home import Home
    from ..programs import PersonaAgent
    from .configuration import Serving

_PROGRAMS = 2_000
"""Programs that are kept ready; one takes about 50 kB."""
_EXPORTS_AT_ONCE = 16
_ERASURES_AT_ONCE = 4
_GRACE_SECONDS = 10.0
"""How long an erasure waits for answers, and for alignments, of its user."""
_ERASURE_SECONDS = 20.0
"""How long the response to an erasure waits for a service that does not answer; the erasure goes on."""
FIRST_RETRY_SECONDS = 5.0
"""How soon erasures that could not be finished are tried again; later, less and less often."""
_LAST_RETRY_SECONDS = 300.0

_log = logging.getLogger(__name__)


class Deployment:
    """Answers for any user of a store, and stores what was asked and answered.

    Args:
        store: Everything about the users.
        run: The run that pays.
        serving: How it answers and learns.
        mirror: Copies a user's new persona versions to MLflow.
        trace: Traces what is done inside, as the answer that becomes the interaction of an id.
        erase: Removes a user of this id with every trace.
        certificates: Say which changes of a persona go live at once; by default those of the package.
    """

    def __init__(
        self,
        store: Store,
        run: OpenRun,
        serving: "Serving",
        *,
        mirror: Callable[[User], object] = lambda _user: None,
        trace: Callable[[str], AbstractContextManager[None]] = lambda _interaction_id: nullcontext(),
        erase: Callable[[str], Receipt],
        certificates: Certificates | None = None,
    ) -> None:
        self.store, self.run, self.serving = store, run, serving
        self._trace, self._erase = trace, erase
        self.tools: Sequence[dspy.Tool] = ()
        """What agents may use beside the user's own memory."""
        self.limiter = Limiter(store.usage, serving.limits, least=run.least_worst_case)
        run.refuse_unpaid_calls()
        store.most_bytes_of_user = serving.user_bytes
        self.workers = Workers(store, alone=serving.alone)
        self.learner = Learner(run, serving, mirror, self.workers, self.limiter, certificates or Certificates(store))
        self.is_draining = False
        self.exports = FairSemaphore(_EXPORTS_AT_ONCE)
        self._pool = AnswerPool(self._answer, serving.answer_seconds)
        self._erasing = ThreadPoolExecutor(_ERASURES_AT_ONCE, thread_name_prefix="erasure")
        self._programs: LRUCache[tuple[str, datetime, int, str], PersonaAgent] = LRUCache(_PROGRAMS)
        self._guard = threading.Lock()

    @property
    def lm(self) -> str:
        """The model that answers."""
        return self.run.lms[AGENT].model

    async def answer(self, caller: Caller, question: Question) -> Answer:
        """Answer under the live persona and store the exchange, which the next question can recall.

        Cancelled while it waits for a thread, it is not begun. Cancelled later, it makes no further call to the LM, and
        is stored only if it needs none.
        """
        if was_begun_before() and (known := await self._known(caller.user, question.interaction_id)) is not None:
            return known
        return await self._pool.answer(caller, question)

    async def _known(self, user: User, interaction_id: str) -> Answer | None:
        """Return the answer to a question that was sent before, whether it is under way or stored; None if neither."""
        if (running := self._pool.find(user.key, interaction_id)) is not None:
            answering = asyncio.wrap_future(running)
            answering.add_done_callback(retrieve_exception)
            return await asyncio.shield(answering)
        stored = await asyncio.to_thread(user.interactions.among, [interaction_id])
        return Answer(stored[interaction_id], Spend()) if interaction_id in stored else None

    def _answer(self, caller: Caller, question: Question) -> Answer:
        try:
            with paid_by(self.limiter.payer(caller.key)):
                caller.user.interactions.check_quota()  # What would not be stored is not paid for.
                return self._answer_and_store(caller.user, question)
        except UnknownUserError:
            # The user was erased meanwhile, and the index may have been brought up to date with what was stored before.
            with suppress(PersonaAgentError):
                self.store.people.erase_episodes(caller.user.key)
            raise

    def _answer_and_store(self, user: User, question: Question) -> Answer:
        interaction_id = question.interaction_id
        scope = within(f"request {interaction_id}", user_key=user.key)
        with measure() as meter, self.run.inside(), scope, self._trace(interaction_id), telling(question.on_piece):
            prediction, without_memory = self._predict(user, question)
        served_by = None if without_memory else self.lm
        exchange = exchange_of(interaction_id, question.query, question.task, prediction, served_by)
        if not question.remembered:
            return Answer(exchange, meter.spend, remembered=False, without_memory=True)
        cancellation_here().stop_if_cut()  # The user may be erased by now, and even be made anew.
        [stored] = user.interactions.record([exchange])
        if not without_memory:
            user.interactions.index_added([stored])
        return Answer(stored, meter.spend, without_memory=without_memory)

    def _predict(self, user: User, question: Question) -> tuple[dspy.Prediction, bool]:
        """Return the prediction, and whether it was made without memory, since the index could not be reached."""
        agent = self._agent(user, question.task)
        if question.remembered:
            try:
                return agent(query=question.query, context=question.context), False
            except StorageError as error:
                _log.warning("user %s: answered without memory: %s", user.key, type(error).__name__)
        return agent.without_memory()(query=question.query, context=question.context), True

    def _agent(self, user: User, task: Task) -> "PersonaAgent":
        """Return the program of the live version, which may have changed since the last request."""
        version = user.personas.live
        if version is None:
            with self.workers.lock(f"first persona of {user.key}"):
                version = live_persona(user, self.serving.agent)
        name = (user.key, version.at, version.number, task.name)  # Erased and made anew, users count from 1 again.
        with self._guard:
            agent = self._programs.get(name)
        if agent is None:
            agent = program(user, version, task, self.serving.agent, self.tools)
            with self._guard:
                self._programs[name] = agent
        return agent

    async def erase(self, user: User) -> Receipt:
        """Note that a user is to be erased, then remove every trace; see `erasure.erase`.

        The user's alignments and answers may end within a few seconds. What goes on longer is cut off and not stored.
        """
        loop = asyncio.get_running_loop()
        with self._pool.refusing(user.key):
            with self._guard:
                for name in [name for name in self._programs if name[0] == user.key]:
                    del self._programs[name]
            await asyncio.to_thread(self.store.people.tombstones.add, user.key)
            try:
                await asyncio.wait_for(self.learner.stop(user), _GRACE_SECONDS)
            except TimeoutError:
                _log.warning("user %s: erased while an alignment goes on", user.key)
            await loop.run_in_executor(self._erasing, self._pool.end, user.key, _GRACE_SECONDS)
            erasing = loop.run_in_executor(self._erasing, self._erase, user.user_id)
            try:
                return await asyncio.wait_for(asyncio.shield(erasing), _ERASURE_SECONDS)
            except TimeoutError:
                return unfinished(user.key)

    async def drain(self) -> None:
        """Stop the alignments, and cut off what is under way still."""
        self.is_draining = True
        await self.learner.stop()
        await asyncio.to_thread(self._pool.close)


@contextmanager
def deployed(home: "Home", serving: "Serving") -> Generator[Deployment]:
    """Serve an open home folder while the block runs."""
    import_module("mlflow")  # It takes seconds, in which others would wait for the first alignment.
    tracker = AnswerTracker(*home.settings.mlflow, share=serving.trace_share)
    with home.run("serve") as run, tracker.ready():
        deployment = Deployment(
            home.store,
            run,
            serving,
            mirror=home.mirror,
            trace=tracker.trace,
            erase=partial(erase, home),
            certificates=home.certificates_of(home.settings.certificate),
        )
        deployment.tools = home.tools
        over = threading.Event()
        finishing = threading.Thread(target=_finish_erasures, args=(home, over), name="erasing", daemon=True)
        with deployment.workers.registered(run.run_id):
            finishing.start()
            try:
                yield deployment
            finally:
                over.set()  # The thread may wait for a service: it ends with the process, and another goes on.


def _finish_erasures(home: "Home", over: threading.Event) -> None:
    """Go on with erasures until the server stops: the longer they cannot be finished, the less often."""
    wait = FIRST_RETRY_SECONDS
    while not over.wait(wait):
        try:
            is_left = any(receipt.left for receipt in finish_erasures(home))
        except PersonaAgentError as error:
            _log.warning("erasures are not finished: %s", type(error).__name__)
            is_left = True
        wait = min(2 * wait, _LAST_RETRY_SECONDS) if is_left else FIRST_RETRY_SECONDS
