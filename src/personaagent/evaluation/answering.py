"""One method answering one user's questions: prepare the program, ask, and make a row of whatever comes of it."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise
from typing import Any, NamedTuple

import dspy

from ..data.errors import AnswerError, StoppedError
from ..data.interaction import Interaction
from ..data.lamp import LampUser
from ..data.own_metric import score_of
from ..data.store import user_key
from ..programs.scope import within
from .attempt import NOTHING, Attempt, attempt, attempt_here
from .events import UserPrepared
from .protocol import persona_of
from .rows import Row, Status
from .work import MethodWork
from .workbench import Workbench

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
