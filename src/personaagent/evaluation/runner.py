"""Evaluate: every method answers every question, each answer becomes a row, the rows become totals.

Rows first: what a question came to is written down as soon as it is known, and nothing that a method does wrong stops
the others.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any

import dspy

from ..data.alignment import Spend
from ..data.errors import AnswerError, InputError, StoppedError
from ..data.interaction import Interaction
from ..data.lamp import LampData, LampUser
from ..data.store import user_key
from ..data.task import Task
from ..programs.scope import within
from .attempt import Attempt, attempt
from .events import EvaluationStarted, Listener, QuestionAnswered, UserPrepared, ignore
from .methods import Method
from .rows import Row, RowSink, Status, rows_file
from .summary import Evaluation, summarise

_MAX_MESSAGE = 500


async def evaluate(
    methods: Sequence[Method],
    data: LampData,
    *,
    out: Path | None = None,
    run_id: str | None = None,
    concurrency: int = 4,
    listen: Listener = ignore,
) -> Evaluation:
    """Let each method answer each question, and score the answers.

    One method runs after the other. Within a method, at most `concurrency` users are under way at once, and at most
    `concurrency` preparations and questions; a user's questions are begun in the order of time. LMs are those of the
    DSPy context around this call.

    Args:
        methods: What is evaluated; their names must differ.
        data: Users with histories, questions and golds; see `select` for a part of it.
        out: Folder for `rows.jsonl`, one row per method and question, written as they finish; None keeps no file.
        run_id: The run that pays. Rows that it left in `out` are written anew, from its journal.
        concurrency: How much is done at once, at least 1.
        listen: Is told what happens.

    Returns:
        The rows and their totals. A question that a method could not answer is a row too, with the error in it.

    Raises:
        InputError: There is nothing to score, or `out` already holds rows.
        StorageError: The rows cannot be written.
    """
    _refuse_what_cannot_be_scored(methods, data, concurrency)
    names = tuple(method.name for method in methods)
    listen(EvaluationStarted(names, len(data.users), len(data.questions)))
    with rows_file(out, run_id) as keep:
        record = _Record(keep, listen, total=len(methods) * len(data.questions))
        for method in methods:
            await _MethodRun(method, data.task, concurrency, record).answer_all(data.users)
    return summarise(data.task, record.rows)


def _refuse_what_cannot_be_scored(methods: Sequence[Method], data: LampData, concurrency: int) -> None:
    names = [method.name for method in methods]
    if not names or len(set(names)) < len(names):
        raise InputError(f"methods {names}: name at least one, and each only once")
    if concurrency < 1:
        raise InputError(f"concurrency is {concurrency}: at least 1 thing must be done at once")
    if not data.questions:
        raise InputError("there are no questions to evaluate")
    for question in data.questions:
        if question.ground_truth is None:
            raise InputError(f"question {question.interaction_id} has no gold: evaluation needs the outputs file")


class _Record:
    """Keeps each row, and tells."""

    def __init__(self, keep: RowSink, listen: Listener, total: int) -> None:
        self._keep, self.listen, self._total = keep, listen, total
        self.rows: list[Row] = []

    def add(self, row: Row) -> None:
        self._keep(row)
        self.rows.append(row)
        self.listen(QuestionAnswered(row, len(self.rows), self._total))


class _MethodRun:
    """One method answering."""

    def __init__(self, method: Method, task: Task, concurrency: int, record: _Record) -> None:
        self._method, self._task, self._record = method, task, record
        self._users = asyncio.Semaphore(concurrency)
        self._work = asyncio.Semaphore(concurrency)

    async def answer_all(self, users: Iterable[LampUser]) -> None:
        await _together([self._answer_user(user) for user in users])

    async def _answer_user(self, user: LampUser) -> None:
        async with self._users:
            program = await self._prepare(user)
            await _together([self._answer(user, question, program) for question in user.questions])

    async def _prepare(self, user: LampUser) -> Attempt[dspy.Module]:
        async with self._work:
            with within(self._method.name, "preparation", user_key=user_key(user.user_id)):
                program = await attempt(self._method.prepare(user))
        self._record.listen(UserPrepared(self._method.name, user_key(user.user_id), program.spend, program.error))
        return program

    async def _answer(self, user: LampUser, question: Interaction, program: Attempt[dspy.Module]) -> None:
        with within(self._method.name, f"question {question.interaction_id}", user_key=user_key(user.user_id)):
            answer = await self._ask(program, question)
        parsed = None if answer.result is None else self._task.parse(answer.result)
        self._record.add(
            Row(
                method=self._method.name,
                task=self._task.name,
                user_key=user_key(user.user_id),
                question_id=question.interaction_id,
                gold=question.ground_truth or "",
                status=_status(program, answer, parsed),
                prediction=answer.result,
                parsed=parsed,
                error=type(answer.error).__name__ if answer.error else None,
                message=str(answer.error)[:_MAX_MESSAGE] if answer.error else None,
                spend=answer.spend,
                preparation=program.spend if question is user.questions[0] else None,
            )
        )

    async def _ask(self, program: Attempt[dspy.Module], question: Interaction) -> Attempt[str | None]:
        if program.result is None:
            return Attempt(None, program.error, Spend())
        async with self._work:
            return await attempt(_response(program.result, question.query))


async def _response(program: dspy.Module, query: str) -> str | None:
    prediction = await program.acall(query=query)
    return None if prediction.response is None else str(prediction.response)


def _status(program: Attempt[dspy.Module], answer: Attempt[str | None], parsed: str | None) -> Status:
    if parsed is not None:
        return "scored"
    answered = program.result is not None and (answer.error is None or isinstance(answer.error, AnswerError))
    return "unparsed" if answered else "failed"


async def _together(works: Sequence[Coroutine[Any, Any, None]]) -> None:
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
