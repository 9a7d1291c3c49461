"""What all requests share: the store, the LMs, and the programs that answer."""

import asyncio
import contextvars
import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import dspy

from ..certificates import Certificates
from ..data.alignment import Spend
from ..data.api_key import Role
from ..data.errors import LimitError, StorageError, UnknownUserError
from ..data.interaction import Interaction
from ..data.store import Store, User
from ..data.task import Task
from ..lms.payer import paid_by
from ..optimizers.simulation import LM_PROBABILITIES, SERVED_BY
from ..people import erase
from ..programs.module import stop_if_cancelled, until
from ..programs.scope import within
from ..programs.spend import measure
from ..runs import AGENT, OpenRun
from .learning import Learner, NoOthers, Others, worker_name
from .limits import Limiter
from .tracing import AnswerTracker
from .turns import Turns

if TYPE_CHECKING:
    from ..home import Home
    from ..people import Receipt
    from ..programs import PersonaAgent
    from .access import Caller
    from .configuration import Serving

_PROGRAMS = 2_000
"""Programs that are kept ready; one takes about 50 kB."""
_AT_ONCE = 256
"""Answers under way at most; others wait. Each has a thread to itself: awaited, a call of DSPy's changes threads four
times, which takes longer than anything else that is done for it here."""
_AT_ONCE_OF_KEY: dict[Role, int] = {"user": 8, "tenant": 64, "admin": 64}
"""Of these, answers under way for one key."""
_WAITING_PER_TURN = 4
"""Times as many answers of a key may wait for their turn; the next is refused."""

_EXPORTS_AT_ONCE = 16

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """An answer that is stored."""

    interaction: Interaction
    spend: Spend
    without_memory: bool = False
    """Whether it was given without the user's episodes, which could not be reached."""


class Deployment:
    """Answers for any user of a store, and stores what was asked and answered.

    Args:
        store: Everything about the users.
        run: The run that pays for the answers.
        serving: How it is done.
        mirror: Copies a user's new persona versions to MLflow.
        trace: Traces what is done inside, as the answer that becomes the interaction of an id.
        erase: Removes a user of this id with every trace.
    """

    def __init__(
        self,
        store: Store,
        run: OpenRun,
        serving: "Serving",
        *,
        mirror: Callable[[User], object] = lambda _user: None,
        trace: Callable[[str], AbstractContextManager[None]] = lambda _interaction_id: nullcontext(),
        erase: "Callable[[str], Receipt]",
    ) -> None:
        self.store, self.run, self.serving = store, run, serving
        self._trace, self._erase = trace, erase
        self.limiter = Limiter(store.usage, serving.limits, least=run.least_worst_case)
        run.refuse_unpaid_calls()
        store.most_bytes_of_user = serving.user_bytes
        self.others: Others = NoOthers() if serving.alone else store
        certificates = Certificates(store, [serving.certificate] if serving.certificate else ())
        self.learner = Learner(run, serving, mirror, self.others, self.limiter, certificates)
        self.is_draining = False
        self._turns, self.exports = Turns(_AT_ONCE), Turns(_EXPORTS_AT_ONCE)
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="answer")
        self._answering: dict[str, set[Future[Answer]]] = {}
        self._leaving: set[str] = set()
        self._programs: OrderedDict[tuple[str, int, str], PersonaAgent] = OrderedDict()
        self._first_personas: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._guard = threading.Lock()

    @property
    def lm(self) -> str:
        """The model that answers."""
        return self.run.lms[AGENT].model

    async def answer(self, caller: "Caller", query: str, task: Task) -> Answer:
        """Answer under the live persona and store the exchange, which the next question can recall.

        Cancelled while it waits for its turn, it is not begun. Cancelled later, it makes no further call to the LM, and
        is stored only if it needs none.

        Args:
            caller: For whom, and whose key pays; also for what failed.
            query: What is asked.
            task: In which form the answer comes.

        Raises:
            AnswerError: The LM did not answer in the form of the task.
            LimitError: The key may not pay for it, or too many of its answers wait.
            LMError: The LM failed.
            StorageError: The exchange could not be stored.
            UnknownUserError: The user is being erased.
        """
        key_id, most, gone = caller.key.key_id, _AT_ONCE_OF_KEY[caller.key.role], threading.Event()
        if self._turns.waiting(key_id) >= _WAITING_PER_TURN * most:
            raise LimitError(1, f"{most} answers of this key are under way, and more wait than may: try again later")
        await self._turns.take(key_id, most)
        try:
            answering = asyncio.wrap_future(self._begun(caller, query, task, gone))
        except BaseException:
            self._turns.give_back(key_id)
            raise
        answering.add_done_callback(lambda _: self._turns.give_back(key_id))
        try:
            return await asyncio.shield(answering)
        finally:
            gone.set()

    def _begun(self, caller: "Caller", query: str, task: Task, gone: threading.Event) -> "Future[Answer]":
        user, here = caller.user, contextvars.copy_context()
        with self._guard:
            if user.key in self._leaving:
                raise UnknownUserError(user.user_id)
            begun = self._threads.submit(here.run, self._answered, caller, query, task, gone)
            self._answering.setdefault(user.key, set()).add(begun)
        begun.add_done_callback(partial(self._over, user.key))
        return begun

    def _over(self, user_key: str, answered: "Future[Answer]") -> None:
        with self._guard:
            self._answering[user_key].discard(answered)
            if not self._answering[user_key]:
                del self._answering[user_key]

    def _answered(self, caller: "Caller", query: str, task: Task, gone: threading.Event) -> Answer:
        try:
            with until(gone), paid_by(self.limiter.payer(caller.key)):
                stop_if_cancelled()
                caller.user.interactions.check_room()  # What would not be stored is not paid for.
                return self._remembered(caller.user, query, task)
        finally:
            self._leave_nothing_of_the_gone(caller.user)

    def _leave_nothing_of_the_gone(self, user: User) -> None:
        """Erase what was recorded of a user whom another process erased while this one answered.

        Raises:
            UnknownUserError: This is such a user.
        """
        if self.serving.alone:
            return
        try:
            self.store.user(user.user_id)
        except UnknownUserError:
            self._erase(user.user_id)
            raise

    def _remembered(self, user: User, query: str, task: Task) -> Answer:
        interaction_id = secrets.token_hex(12)
        place = within(f"request {interaction_id}", user_key=user.key)
        with measure() as meter, self.run.inside(), place, self._trace(interaction_id):
            prediction, without_memory = self._predict(user, query, task)
        exchange = Interaction(
            interaction_id=interaction_id,
            query=query,
            response=prediction.response,
            persona_version=prediction.persona_version,
            at=datetime.now(UTC),
            task=task.name,
            metadata={} if without_memory else self._said(prediction),
        )
        [stored] = user.interactions.record([exchange])
        if not without_memory:
            user.interactions.index_added([stored])
        return Answer(stored, meter.spend, without_memory)

    def _said(self, prediction: dspy.Prediction) -> dict[str, Any]:
        """Return what a later alignment needs to take the answer for a simulation."""
        said: dict[str, Any] = {SERVED_BY: self.lm}
        if prediction.lm_probabilities is not None:
            said[LM_PROBABILITIES] = dict(prediction.lm_probabilities)
        return said

    async def erase(self, user: User) -> "Receipt":
        """Remove a user with every trace, once what is under way for the user in this process is over."""
        with self._guard:
            self._leaving.add(user.key)
            under_way = tuple(self._answering.get(user.key, ()))
        try:
            await self.learner.stop(user)
            await asyncio.to_thread(wait, under_way)
            with self._guard:
                for known in [one for one in self._programs if one[0] == user.key]:
                    del self._programs[known]
            return await asyncio.to_thread(self._erase, user.user_id)
        finally:
            self._leaving.discard(user.key)

    async def drained(self) -> None:
        """Stop the alignments, and wait until nothing is left to do."""
        self.is_draining = True
        await self.learner.stop()
        await asyncio.to_thread(self._threads.shutdown)

    def _predict(self, user: User, query: str, task: Task) -> tuple[dspy.Prediction, bool]:
        """Answer; if the index of episodes cannot be reached, with the persona alone, and say so."""
        from ..personas import program

        agent = self._agent(user, task)
        try:
            return agent(query=query), False
        except StorageError as error:
            _log.warning("user %s: answered without memory: %s", user.key, type(error).__name__)
            version = user.personas.get(agent.persona_version) if agent.persona_version else user.personas.live
            if version is None:
                raise
            forgetful = self.serving.agent.model_copy(update={"memory": False})
            return program(user, version, task, forgetful)(query=query), True

    def _agent(self, user: User, task: Task) -> "PersonaAgent":
        """Return the program of the live version, which may have changed since the last request."""
        from ..personas import live_persona, program

        version = user.personas.live
        if version is None:
            with self._first_persona(user):
                version = live_persona(user, self.serving.agent)
        name = (user.key, version.number, task.name)
        with self._guard:
            known = self._programs.get(name)
            if known is not None:
                self._programs.move_to_end(name)
                return known
        made = program(user, version, task, self.serving.agent)
        with self._guard:
            self._programs[name] = made
            while len(self._programs) > _PROGRAMS:
                self._programs.popitem(last=False)
        return made

    @contextmanager
    def _first_persona(self, user: User) -> Generator[None]:
        """Let nobody else make the user's first persona meanwhile, neither here nor in another process."""
        with self._guard:
            here = self._first_personas.setdefault(user.key, threading.Lock())
        with here, self.others.alone(f"first persona of {user.key}"):
            yield


@contextmanager
def deployed(home: "Home", serving: "Serving") -> Generator[Deployment]:
    """Serve an open home folder while the block runs."""
    tracker = AnswerTracker(*home.settings.mlflow, share=serving.trace_share)
    with home.run("serve") as run, tracker.ready():
        deployment = Deployment(
            home.store,
            run,
            serving.model_copy(update={"certificate": home.settings.certificate}),
            mirror=home.mirror,
            trace=tracker.trace,
            erase=partial(erase, home),
        )
        with deployment.others.alone(worker_name(run.run_id)):
            yield deployment
