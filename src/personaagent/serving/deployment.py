"""What all requests share: the store, the LMs, and the programs that answer."""

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import dspy

from ..certificates import Certificates
from ..data.alignment import Spend
from ..data.errors import PersonaAgentError, StorageError, UnknownUserError
from ..data.interaction import Interaction
from ..data.store import Store, User
from ..data.task import Task
from ..erasure import erase, finish_erasures
from ..journal import AGENT, OpenRun
from ..journal.budget import paid_by
from ..optimizers.simulation import LM_PROBABILITIES, SERVED_BY
from ..programs.cancelling import cancellation_here
from ..programs.pieces import telling
from ..programs.scope import within
from ..programs.spend import measure
from .erasing import Erasures, finishing
from .idempotency import claim_here
from .learning import Learner
from .limits import Limiter
from .others import NoOthers, Others, worker_name
from .question import Answer, Question, taken
from .tracing import AnswerTracker
from .turns import Turns
from .under_way import UnderWay

if TYPE_CHECKING:
    from ..erasure import Receipt
    from ..home import Home
    from ..programs import PersonaAgent
    from .access import Caller
    from .configuration import Serving

_PROGRAMS = 2_000
"""Programs that are kept ready; one takes about 50 kB."""
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
        self.exports = Turns(_EXPORTS_AT_ONCE)
        self._under_way = UnderWay(self._answered, serving.answer_seconds)
        self._erasures = Erasures(store, self.learner, self._under_way, erase)
        self._programs: OrderedDict[tuple[str, datetime, int, str], PersonaAgent] = OrderedDict()
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
            LateError: It took too long.
            LMError: The LM failed.
            StorageError: The exchange could not be stored.
            ErasedUserError: The user is being erased, or was meanwhile.
        """
        claim = claim_here()
        if claim is not None and claim.was_begun:
            known = await self._known(caller.user, question.interaction_id)
            if known is not None:
                return known
        return await self._under_way.answer(caller, question)

    async def _known(self, user: User, interaction_id: str) -> Answer | None:
        """Return the answer to a question that was sent before, whether it is under way or stored; None if neither."""
        if (begun := self._under_way.find(user.key, interaction_id)) is not None:
            answering = asyncio.wrap_future(begun)
            answering.add_done_callback(taken)
            return await asyncio.shield(answering)
        stored = await asyncio.to_thread(user.interactions.among, [interaction_id])
        return Answer(stored[interaction_id], Spend()) if interaction_id in stored else None

    def _answered(self, caller: "Caller", question: Question) -> Answer:
        try:
            with paid_by(self.limiter.payer(caller.key)):
                caller.user.interactions.check_quota()  # What would not be stored is not paid for.
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
        cancellation_here().stop_if_cut()  # The user may be erased by now, and even be made anew.
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
        with self._under_way.none_of(user.key):
            with self._guard:
                for known in [one for one in self._programs if one[0] == user.key]:
                    del self._programs[known]
            return await self._erasures.erase(user)

    async def drained(self) -> None:
        """Stop the alignments, and cut off what is under way still."""
        self.is_draining = True
        await self.learner.stop()
        await asyncio.to_thread(self._under_way.close)

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
        name = (user.key, version.at, version.number, task.name)  # Erased and made anew, users count from 1 again.
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
