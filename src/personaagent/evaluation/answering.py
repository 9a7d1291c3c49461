"""One method answering users' questions: prepare a program for each user, ask it, and make a row of every answer."""

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any, Generic, NamedTuple, TypeVar

import dspy

from ..data.alignment import Spend
from ..data.answer_weights import AnswerWeights, Distribution
from ..data.change import ChangeKind
from ..data.errors import AnswerError, StoppedError
from ..data.interaction import Interaction
from ..data.lamp import LampUser
from ..data.metric import OwnMetric, score_of
from ..data.store import user_key
from ..data.task import Task
from ..programs.scope import measure, within
from .methods import Method
from .record import PersonaRecord, Row, Status, persona_of
from .resources import Resources

_LOG = logging.getLogger(__name__)
_MAX_MESSAGE = 500

Result = TypeVar("Result")


@dataclass(frozen=True)
class MethodJob:
    """One method, and the users whose questions it is to answer."""

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


@dataclass(frozen=True)
class UserPrepared:
    """A method has a program for a user, or failed to make one."""

    method: str
    user_key: str
    spend: Spend
    persona: PersonaRecord | None
    """The persona under which the program answers; None if it has none, or there is no program."""


Emit = Callable[[UserPrepared | Row], None]
"""Takes what becomes of one user's questions, as soon as it is known."""


@dataclass
class Outcome(Generic[Result]):
    """The result of some work of a method or its error, and what it spent."""

    result: Result | None = None
    error: Exception | None = None
    spend: Spend = field(default_factory=Spend)


@contextmanager
def caught(outcome: Outcome[Any]) -> Generator[None]:
    """Note the error and the spend of what a method does inside; a `StoppedError` passes, for it ends the run.

    DSPy keeps no trace and no history of the work: over thousands of questions they would fill the memory with prompts.
    """
    with measure() as meter, dspy.context(trace=None, disable_history=True):
        try:
            yield
        except StoppedError:
            raise
        except Exception as error:  # noqa: BLE001 - methods are other people's code; the error becomes a row
            _LOG.debug("a method failed", exc_info=error)
            outcome.error = error
    outcome.spend = meter.spend


def attempt(work: Callable[[], Result]) -> Outcome[Result]:
    """Do a method's work, in this thread; see `caught`."""
    outcome = Outcome[Result]()
    with caught(outcome):
        outcome.result = work()
    return outcome


@dataclass(frozen=True)
class Answering:
    """Answers the questions of any user of a job; programs run in `threads`, one for each user under way."""

    job: MethodJob
    resources: Resources
    threads: Executor

    async def answer(self, user: LampUser, emit: Emit) -> None:
        """Prepare the user's program and ask one question after the other, in the order of time."""
        method = self.job.method
        program = await self._prepared(user, "preparation", method.prepare(user, self.resources), emit)
        await self._answer(user, user.questions[0], program, emit, is_new=True)
        for answered, question in pairwise(user.questions):
            known = program.result if self.job.online else None
            if known is not None:
                user = replace(user, history=(*user.history, answered))
                learning = method.learn(known, user, self.resources)
                program = await self._prepared(user, f"learning {answered.interaction_id}", learning, emit)
            await self._answer(user, question, program, emit, is_new=known is not None)

    async def _prepared(
        self, user: LampUser, place: str, program: Awaitable[dspy.Module], emit: Emit
    ) -> Outcome[dspy.Module]:
        name, key, prepared = self.job.method.name, user_key(user.user_id), Outcome[dspy.Module]()
        with within(name, place, user_key=key), caught(prepared):
            prepared.result = await program
        emit(UserPrepared(name, key, prepared.spend, persona_of(prepared.result, name, key)))
        return prepared

    async def _answer(
        self, user: LampUser, question: Interaction, program: Outcome[dspy.Module], emit: Emit, *, is_new: bool
    ) -> None:
        with within(self.job.method.name, f"question {question.interaction_id}", user_key=user_key(user.user_id)):
            context = contextvars.copy_context()
        row = partial(self._row, user, question, program, is_new=is_new)
        emit(await asyncio.get_running_loop().run_in_executor(self.threads, context.run, row))

    def _row(self, user: LampUser, question: Interaction, program: Outcome[dspy.Module], *, is_new: bool) -> Row:
        """Ask one question; a program that is new to this question has its spend on the row."""
        task = self.job.task
        answer = Outcome[_Answer](error=program.error)
        if program.result is not None:
            answer = attempt(partial(_answer_of, program.result, question.query))
        response, probabilities = answer.result or _Answer(None, None)
        parsed, metric = None if response is None else task.parse(response), self.job.metric
        scored = attempt(lambda: None if metric is None or parsed is None else score_of(metric, question, parsed))
        error = answer.error or scored.error
        return Row(
            method=self.job.method.name,
            task=task.name,
            user_key=user_key(user.user_id),
            question_id=question.interaction_id,
            gold=question.ground_truth,
            status="failed" if scored.error else _status(question, program, answer, parsed),
            prediction=response,
            parsed=None if scored.error else parsed,
            score=scored.result,
            probabilities=None if task.kind == "text" else probabilities,
            error=type(error).__name__ if error else None,
            message=str(error)[:_MAX_MESSAGE] if error else None,
            spend=answer.spend,
            preparation=program.spend if is_new else None,
        )


class _Answer(NamedTuple):
    response: str | None
    probabilities: dict[str, float] | None


def _answer_of(program: dspy.Module, query: str) -> _Answer:
    prediction = program(query=query)
    probabilities = getattr(prediction, "probabilities", None)
    response = prediction.response
    return _Answer(None if response is None else str(response), probabilities and dict(probabilities))


def _status(
    question: Interaction, program: Outcome[dspy.Module], answer: Outcome[_Answer], parsed: str | None
) -> Status:
    if parsed is not None:
        return "unscored" if question.ground_truth is None else "scored"
    answered = program.result is not None and (answer.error is None or isinstance(answer.error, AnswerError))
    return "unparsed" if answered else "failed"


async def for_each_user(
    users: Sequence[LampUser], do: Callable[[LampUser], Coroutine[Any, Any, None]], *, concurrency: int
) -> None:
    """Do something for every user, begun in this order, with at most so many under way.

    When one raises, the others are stopped and the error is raised. When the run is to stop, calls under way are waited
    for: they are paid, and their answers are recorded.
    """
    free = asyncio.Semaphore(concurrency)

    async def do_when_free(user: LampUser) -> None:
        async with free:
            await do(user)

    tasks = [asyncio.create_task(do_when_free(user)) for user in users]
    try:
        await asyncio.gather(*tasks)
    except StoppedError:
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
