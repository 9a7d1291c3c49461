"""One method answering one user's questions: prepare the program, ask, and make a row of whatever comes of it."""

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import pairwise
from typing import Any, Generic, NamedTuple, TypeVar

import dspy

from ..data.alignment import Spend
from ..data.answer_weights import AnswerWeights, Distribution
from ..data.change import ChangeKind
from ..data.errors import AnswerError, StoppedError
from ..data.interaction import Interaction
from ..data.lamp import LampUser
from ..data.own_metric import OwnMetric, score_of
from ..data.store import user_key
from ..data.task import Task
from ..programs.scope import within
from ..programs.spend import measure
from .events import UserPrepared
from .methods import Method
from .protocol import persona_of
from .rows import Row, Status
from .workbench import Workbench


@dataclass(frozen=True)
class MethodWork:
    """Users whose questions a method is to answer."""

    method: Method
    task: Task
    users: Sequence[LampUser]
    online: bool = False
    """Whether each answered question joins its user's history before the next one is asked."""
    metric: OwnMetric | None = None
    """Scores answers; None leaves that to the metrics of the task's kind."""
    weights: Mapping[str, AnswerWeights] = field(default_factory=dict[str, AnswerWeights])
    """Answer weights by user key, for a method that weighs its answers."""
    base_rates: Mapping[str, Distribution] = field(default_factory=dict[str, Distribution])
    """How often the other users give each answer, by user key; empty for a task that asks for text."""
    certified: frozenset[ChangeKind] = frozenset()
    """Kinds of change that a certificate lets go live at once."""
    concurrency: int = 1
    """Users answered at once."""


_LOG = logging.getLogger(__name__)

NOTHING = Spend()

Result = TypeVar("Result")


class Attempt(NamedTuple, Generic[Result]):
    """What a piece of a method's work came to, and what it took."""

    result: Result | None
    error: Exception | None
    spend: Spend


async def attempt(work: Awaitable[Result]) -> Attempt[Result]:
    """Await a method's work; see `attempt_here`."""
    result = None
    with _kept() as kept:
        result = await work
    return Attempt(result, kept.error, kept.spend)


def attempt_here(work: Callable[[], Result]) -> Attempt[Result]:
    """Do a method's work, in this thread: whatever fails beyond this boundary is data, and the run goes on.

    A run that must not go on is not a failure of the method: its `StoppedError` passes. DSPy keeps no trace and no
    history of the work: over thousands of questions they would fill the memory with prompts.
    """
    result = None
    with _kept() as kept:
        result = work()
    return Attempt(result, kept.error, kept.spend)


@dataclass
class _Kept:
    error: Exception | None = None
    spend: Spend = NOTHING


@contextmanager
def _kept() -> Generator[_Kept]:
    kept = _Kept()
    with measure() as meter, dspy.context(trace=None, disable_history=True):
        try:
            yield kept
        except StoppedError:
            raise
        except Exception as error:  # noqa: BLE001 - methods are other people's code; the error becomes a row
            _LOG.debug("a method failed", exc_info=error)
            kept.error = error
    kept.spend = meter.spend


_MAX_MESSAGE = 500

Hear = Callable[[UserPrepared | Row], None]
"""Takes what one user's questions come to, as soon as it is known."""


@dataclass(frozen=True)
class Answering:
    """How one method answers any user."""

    work: MethodWork
    bench: Workbench
    threads: Executor
    """Where programs run, one for each user under way: awaited, one call of DSPy's changes threads four times."""

    @cached_property
    def _name(self) -> str:
        return self.work.method.name

    async def answer(self, user: LampUser, hear: Hear) -> None:
        """Prepare the user's program and ask one question after the other, in the order of time.

        Questions of one user begin alike, and an LM that was asked the one before computes only what is new.
        """
        program = await self._make(user, "preparation", self.work.method.prepare(user, self.bench), hear)
        await self._answer(user, user.questions[0], program, hear, costs=True)
        for answered, question in pairwise(user.questions):
            known = program.result if self.work.online else None
            if known is not None:
                user = replace(user, history=(*user.history, answered))
                learning = self.work.method.learn(known, user, self.bench)
                program = await self._make(user, f"learning {answered.interaction_id}", learning, hear)
            await self._answer(user, question, program, hear, costs=known is not None)

    async def _make(
        self, user: LampUser, place: str, program: Awaitable[dspy.Module], hear: Hear
    ) -> Attempt[dspy.Module]:
        key = user_key(user.user_id)
        with within(self._name, place, user_key=key):
            made = await attempt(program)
        hear(UserPrepared(self._name, key, made.spend, persona_of(made.result, self._name, key)))
        return made

    async def _answer(
        self, user: LampUser, question: Interaction, program: Attempt[dspy.Module], hear: Hear, *, costs: bool
    ) -> None:
        with within(self._name, f"question {question.interaction_id}", user_key=user_key(user.user_id)):
            here = contextvars.copy_context()
        answered = partial(self._row, user, question, program, costs=costs)
        hear(await asyncio.get_running_loop().run_in_executor(self.threads, here.run, answered))

    def _row(self, user: LampUser, question: Interaction, program: Attempt[dspy.Module], *, costs: bool) -> Row:
        """Ask one question, in a thread, and return what comes of it."""
        task = self.work.task
        answer = _asked(program, question)
        response, probabilities = answer.result or _NO_ANSWER
        parsed = None if response is None else task.parse(response)
        scored = attempt_here(partial(self._score, question, parsed))
        error = answer.error or scored.error
        return Row(
            method=self._name,
            task=task.name,
            user_key=user_key(user.user_id),
            question_id=question.interaction_id,
            gold=question.ground_truth or "",
            status="failed" if scored.error else _status(program, answer, parsed),
            prediction=response,
            parsed=None if scored.error else parsed,
            score=scored.result,
            probabilities=None if task.kind == "text" else probabilities,
            error=type(error).__name__ if error else None,
            message=str(error)[:_MAX_MESSAGE] if error else None,
            spend=answer.spend,
            preparation=program.spend if costs else None,
        )

    def _score(self, question: Interaction, parsed: str | None) -> float | None:
        if self.work.metric is None or parsed is None:
            return None
        return score_of(self.work.metric, question, parsed)


class _Answer(NamedTuple):
    response: str | None
    probabilities: dict[str, float] | None


_NO_ANSWER = _Answer(None, None)


def _asked(program: Attempt[dspy.Module], question: Interaction) -> Attempt[_Answer]:
    if program.result is None:
        return Attempt(None, program.error, NOTHING)
    return attempt_here(partial(_answered, program.result, question.query))


def _answered(program: dspy.Module, query: str) -> _Answer:
    prediction = program(query=query)
    probabilities = getattr(prediction, "probabilities", None)
    response = prediction.response
    return _Answer(None if response is None else str(response), probabilities and dict(probabilities))


def _status(program: Attempt[dspy.Module], answer: Attempt[_Answer], parsed: str | None) -> Status:
    if parsed is not None:
        return "scored"
    answered = program.result is not None and (answer.error is None or isinstance(answer.error, AnswerError))
    return "unparsed" if answered else "failed"


async def a_few_at_once(
    most: int, users: Sequence[LampUser], work: Callable[[LampUser], Coroutine[Any, Any, None]]
) -> None:
    """Do the work of every user, begun in this order, with at most so many under way; errors as in `together`."""
    under_way = asyncio.Semaphore(most)

    async def one(user: LampUser) -> None:
        async with under_way:
            await work(user)

    await together([one(user) for user in users])


async def together(works: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Do all of them at once; when one raises, stop the others and raise that.

    When the run is to stop, calls under way are waited for: they are paid, and their answers are recorded.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    except StoppedError:
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
