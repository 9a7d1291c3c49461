"""What all requests share: the store, the LMs, and the programs that answer."""

import asyncio
import contextvars
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import dspy

from ..certificates import Certificates
from ..data.alignment import Spend
from ..data.api_key import Role
from ..data.errors import ErasedUserError, LimitError, PersonaAgentError, StorageError, UnknownUserError
from ..data.interaction import Interaction
from ..data.store import Store, User
from ..data.task import Task
from ..lms.payer import paid_by
from ..optimizers.simulation import LM_PROBABILITIES, SERVED_BY
from ..people import erase, finish_erasures
from ..programs.module import stop_if_cancelled, until
from ..programs.pieces import telling
from ..programs.scope import within
from ..programs.spend import measure
from ..runs import AGENT, OpenRun
from .erasing import Erasures, finishing
from .idempotency import Claim, claim_here
from .learning import Learner
from .limits import Limiter
from .others import NoOthers, Others, worker_name
from .question import Answer, Question, taken
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
        self._trace = trace
        self.limiter = Limiter(store.usage, serving.limits, least=run.least_worst_case)
        run.refuse_unpaid_calls()
        store.most_bytes_of_user = serving.user_bytes
        self.others: Others = NoOthers() if serving.alone else store
        certificates = Certificates(store, [serving.certificate] if serving.certificate else ())
        self.learner = Learner(run, serving, mirror, self.others, self.limiter, certificates)
        self.is_draining = False
        self._turns, self.exports = Turns(_AT_ONCE), Turns(_EXPORTS_AT_ONCE)
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="answer")
        self._erasures = Erasures(store, self.learner, erase)
        self._answering: dict[str, dict[str, Future[Answer]]] = {}
        self._leaving: set[str] = set()
        self._programs: OrderedDict[tuple[str, int, str], PersonaAgent] = OrderedDict()
        self._first_personas: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._guard = threading.Lock()

    @property
    def lm(self) -> str:
        """The model that answers."""
        return self.run.lms[AGENT].model

    async def answer(self, caller: "Caller", question: Question) -> Answer:
        """Answer under the live persona and store the exchange, which the next question can recall.

        Cancelled while it waits for its turn, it is not begun. Cancelled later, it makes no further call to the LM, and
        is stored only if it needs none.

        Args:
            caller: For whom, and whose key pays; also for what failed.
            question: What is asked.

        Raises:
            AnswerError: The LM did not answer in the form of the task.
            LimitError: The key may not pay for it, or too many of its answers wait.
            LMError: The LM failed.
            StorageError: The exchange could not be stored.
            ErasedUserError: The user is being erased, or was meanwhile.
        """
        user, claim, interaction_id = caller.user, claim_here(), question.interaction_id
        if claim is not None and claim.was_begun and (known := await self._known(user, interaction_id)) is not None:
            return known
        key_id, most, gone = caller.key.key_id, _AT_ONCE_OF_KEY[caller.key.role], threading.Event()
        if self._turns.waiting(key_id) >= _WAITING_PER_TURN * most:
            raise LimitError(1, f"{most} answers of this key are under way, and more wait than may: try again later")
        await self._turns.take(key_id, most)
        try:
            answering = asyncio.wrap_future(self._begun(caller, question, gone))
        except BaseException:
            self._turns.give_back(key_id)
            raise
        answering.add_done_callback(lambda _: self._turns.give_back(key_id))
        answering.add_done_callback(taken)
        try:
            return await asyncio.shield(answering)
        finally:
            gone.set()

    def _begun(self, caller: "Caller", question: Question, gone: threading.Event) -> "Future[Answer]":
        user, here, interaction_id = caller.user, contextvars.copy_context(), question.interaction_id
        with self._guard:
            if user.key in self._leaving:
                raise ErasedUserError(user.user_id)
            begun = self._threads.submit(here.run, self._answered, caller, question, gone)
            self._answering.setdefault(user.key, {})[interaction_id] = begun
        begun.add_done_callback(partial(self._over, user.key, interaction_id, claim_here()))
        return begun

    async def _known(self, user: User, interaction_id: str) -> Answer | None:
        """Return the answer to a question that was sent before, whether it is under way or stored; None if neither."""
        with self._guard:
            begun = self._answering.get(user.key, {}).get(interaction_id)
        if begun is not None:
            answering = asyncio.wrap_future(begun)
            answering.add_done_callback(taken)
            return await asyncio.shield(answering)
        stored = await asyncio.to_thread(user.interactions.among, [interaction_id])
        return Answer(stored[interaction_id], Spend()) if interaction_id in stored else None

    def _over(self, user_key: str, interaction_id: str, claim: Claim | None, answered: "Future[Answer]") -> None:
        with self._guard:
            del self._answering[user_key][interaction_id]
            if not self._answering[user_key]:
                del self._answering[user_key]
        if claim is not None and (answered.cancelled() or answered.exception() is not None):
            with suppress(PersonaAgentError):
                claim.give_up()

    def _answered(self, caller: "Caller", question: Question, gone: threading.Event) -> Answer:
        try:
            with until(gone), paid_by(self.limiter.payer(caller.key)):
                stop_if_cancelled()
                caller.user.interactions.check_room()  # What would not be stored is not paid for.
                return self._remembered(caller.user, question)
        except UnknownUserError:
            # The user was erased meanwhile, and the index may have been brought up to date with what was stored before.
            with suppress(PersonaAgentError):
                self.store.people.erase_episodes(caller.user.key)
            raise

    def _remembered(self, user: User, question: Question) -> Answer:
        interaction_id = question.interaction_id
        place = within(f"request {interaction_id}", user_key=user.key)
        with measure() as meter, self.run.inside(), place, self._trace(interaction_id), telling(question.tell):
            prediction, without_memory = self._predict(user, question)
        exchange = Interaction(
            interaction_id=interaction_id,
            query=question.query,
            response=prediction.response,
            persona_version=prediction.persona_version,
            at=datetime.now(UTC),
            task=question.task.name,
            metadata={} if without_memory else self._said(prediction),
        )
        if not question.remembered:
            return Answer(exchange, meter.spend, remembered=False, without_memory=True)
        [stored] = user.interactions.record([exchange])
        if not without_memory:
            user.interactions.index_added([stored])
        return Answer(stored, meter.spend, without_memory=without_memory)

    def _said(self, prediction: dspy.Prediction) -> dict[str, Any]:
        """Return what a later alignment needs to take the answer for a simulation."""
        said: dict[str, Any] = {SERVED_BY: self.lm}
        if prediction.lm_probabilities is not None:
            said[LM_PROBABILITIES] = dict(prediction.lm_probabilities)
        return said

    async def erase(self, user: User) -> "Receipt":
        """Remove a user with every trace; what is under way for the user may end first, but not for long."""
        with self._guard:
            self._leaving.add(user.key)
            under_way = tuple(self._answering.get(user.key, {}).values())
            for known in [one for one in self._programs if one[0] == user.key]:
                del self._programs[known]
        try:
            return await self._erasures.erase(user, under_way)
        finally:
            self._leaving.discard(user.key)

    async def drained(self) -> None:
        """Stop the alignments, and wait until nothing is left to do."""
        self.is_draining = True
        await self.learner.stop()
        await asyncio.to_thread(self._threads.shutdown)

    def _predict(self, user: User, question: Question) -> tuple[dspy.Prediction, bool]:
        """Answer; if the index of episodes cannot be reached, with the persona alone, and say so."""
        agent = self._agent(user, question.task)
        if question.remembered:
            try:
                return agent(query=question.query, context=question.context), False
            except StorageError as error:
                _log.warning("user %s: answered without memory: %s", user.key, type(error).__name__)
        forgetful = agent.without_memory()
        return forgetful(query=question.query, context=question.context), True

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
        with deployment.others.kept(worker_name(run.run_id)), finishing(partial(_is_erasing, home)):
            yield deployment


def _is_erasing(home: "Home") -> bool:
    """Go on with erasures, and return whether something is left."""
    return any(receipt.left for receipt in finish_erasures(home))
