"""Evaluate: every method answers every question, each answer becomes a row, the rows become totals.

Rows first: what a question came to is written down as soon as it is known, and nothing that a method does wrong stops
the others.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from ..data.errors import InputError
from ..data.lamp import LampData, LampUser
from ..data.task import Task
from ..lms.recorder import recorder_here
from .answering import Answering, together
from .events import EvaluationStarted, Listener, QuestionAnswered, UserPrepared, ignore
from .methods import Method
from .rows import Row, RowSink, rows_file
from .summary import Evaluation, summarise
from .workbench import Workbench


async def evaluate(
    methods: Sequence[Method],
    data: LampData,
    *,
    out: Path | None = None,
    concurrency: int = 4,
    online: bool = False,
    bench: Callable[[Task], Workbench] = Workbench,
    listen: Listener = ignore,
) -> Evaluation:
    """Let each method answer each question, and score the answers.

    One method runs after the other. Within a method, at most `concurrency` users are under way at once, and at most
    `concurrency` preparations and questions; a user's questions are begun in the order of time. LMs are those of the
    DSPy context around this call.

    Args:
        methods: What is evaluated; their names must differ.
        data: Users with histories, questions and golds; see `select` for a part of it.
        out: Folder for `rows.jsonl`, one row per method and question, written as they finish; None keeps no file. Rows
            that the run around this call (see `runs.open_run`) left there are written anew, from its journal.
        concurrency: How much is done at once, at least 1.
        online: Whether each answered question joins its user's history before the next one is asked.
        bench: Makes what a method works with; each method gets one of its own.
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
    recorder = recorder_here.get()
    with rows_file(out, recorder and recorder.run_id) as keep:
        record = _Record(keep, listen, total=len(methods) * len(data.questions))
        for method in methods:
            with bench(data.task) as its_bench:
                answering = Answering(method, its_bench, asyncio.Semaphore(concurrency), online)
                await _answer_all(answering, data.users, concurrency, record)
    return summarise(data.task, record.rows)


async def _answer_all(answering: Answering, users: Sequence[LampUser], concurrency: int, record: "_Record") -> None:
    under_way = asyncio.Semaphore(concurrency)

    async def answer(user: LampUser) -> None:
        async with under_way:
            await answering.answer(user, record.hear)

    await together([answer(user) for user in users])


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
        self._keep, self._listen, self._total = keep, listen, total
        self.rows: list[Row] = []

    def hear(self, news: UserPrepared | Row) -> None:
        if isinstance(news, UserPrepared):
            self._listen(news)
            return
        self._keep(news)
        self.rows.append(news)
        self._listen(QuestionAnswered(news, len(self.rows), self._total))
