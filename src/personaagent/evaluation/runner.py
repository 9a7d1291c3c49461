"""Evaluate: every method answers every question, each answer becomes a row, the rows become totals.

Rows first: what a question came to is written down as soon as it is known, and nothing that a method does wrong stops
the others.
"""

from collections.abc import Sequence
from pathlib import Path

from ..data.errors import InputError
from ..data.lamp import LampData
from ..journal.recorder import recorder_here
from ..programs.shared_decisions import sharing_decisions
from .engine import Engine, LocalEngine
from .events import EvaluationStarted, Listener, QuestionAnswered, UserPrepared, ignore
from .methods import Method
from .rows import Row, RowSink, rows_file
from .summary import Evaluation, summarise
from .work import MethodWork


async def evaluate(
    methods: Sequence[Method],
    data: LampData,
    *,
    out: Path | None = None,
    concurrency: int = 4,
    online: bool = False,
    engine: Engine | None = None,
    listen: Listener = ignore,
) -> Evaluation:
    """Let each method answer each question, and score the answers.

    One method runs after the other, and so do a user's questions, in the order of time. LMs are those of the DSPy
    context around this call.

    Args:
        methods: What is evaluated; their names must differ.
        data: Users with histories, questions and golds; see `select` for a part of it.
        out: Folder for `rows.jsonl`, one row per method and question, written as they finish; None keeps no file. Rows
            that the run around this call (see `runs.open_run`) left there are written anew, from its journal.
        concurrency: Users answered at once, at least 1.
        online: Whether each answered question joins its user's history before the next one is asked.
        engine: Where users are answered; by default in this process, see `LocalEngine`.
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
    with rows_file(out, recorder and recorder.run_id) as keep, sharing_decisions():
        record = _Record(keep, listen, total=len(methods) * len(data.questions))
        answering = engine or LocalEngine()
        for method in methods:
            work = MethodWork(method, data.task, data.users, online, data.metric, concurrency=concurrency)
            await answering.answer(work, record.hear)
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
        self._keep, self._listen, self._total = keep, listen, total
        self.rows: list[Row] = []

    def hear(self, news: UserPrepared | Row) -> None:
        if isinstance(news, UserPrepared):
            self._listen(news)
            return
        self._keep(news)
        self.rows.append(news)
        self._listen(QuestionAnswered(news, len(self.rows), self._total))
