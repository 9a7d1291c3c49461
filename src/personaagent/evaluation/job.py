"""An evaluation as it can be written down and done again: which data, which methods, with what parameters."""

import platform
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from ..data.call import as_written
from ..data.errors import InputError
from ..data.histories import history_files, load_histories, own_task
from ..data.lamp import LampData, load
from ..data.nouns import Noun
from ..data.own_metric import metric_named, scored_by
from ..data.store import user_key
from ..data.task import task_named
from ..journal.recorder import recorder_here
from ..programs.scope import within
from ..programs.shared_decisions import sharing_decisions
from .answering import MethodWork
from .engine import Engine, LocalEngine
from .events import EvaluationStarted, Event, Listener, QuestionAnswered, UserPrepared, ignore
from .methods import Method, methods_named
from .protocol import Protocol, persona_file, write_protocol
from .rows import Row, RowSink, rows_file, run_of
from .selection import label_histories, select, shuffle_users
from .summary import Evaluation, summarise
from .workbench import Workbench

if TYPE_CHECKING:
    import dspy

    from ..data.store import Store
    from ..settings import Settings


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


class EvaluationJob(Noun):
    """What `personaagent evaluate` was asked to do."""

    folder: Annotated[Path, AfterValidator(Path.resolve)]
    """LaMP's files, OPPU's, or JSON lines of one's own; with several tasks, each in a folder of its name."""
    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    users: int | None = None
    """Users drawn, of each task."""
    questions: int | None = None
    """Questions drawn, of each task."""
    seed: int = 0
    online: bool = False
    shuffle_users: bool = False
    """Whether each user is answered with the history of another: what is personal must then be worth nothing."""
    metric: str | None = None
    """Of one's own, as `own_metric.metric_named` takes it; None for those of the task's kind."""

    def data(self, task: str) -> LampData:
        """Load the part of a task's data that is drawn."""
        folder = self._folder_of(task)
        own = history_files(folder)
        whole = load_histories(own, own_task(folder, task)) if own else label_histories(load(folder, task_named(task)))
        scored = whole if self.metric is None else scored_by(whole, metric_named(self.metric))
        drawn = select(scored, users=self.users, questions=self.questions, seed=self.seed)
        return shuffle_users(drawn, seed=self.seed) if self.shuffle_users else drawn

    def check(self) -> None:
        """Refuse what cannot be evaluated before anything is paid.

        Raises:
            InputError: The data or the methods are not as they must be.
        """
        for task in self.tasks:
            methods_named(self.methods, self.data(task).task)

    def kept_in(self, out: Path | None, task: str) -> Path | None:
        """Return where the rows of a task are kept: in `out` itself if there is no other task."""
        return out / task if out is not None and len(self.tasks) > 1 else out

    def _folder_of(self, task: str) -> Path:
        own = self.folder / task
        return own if own.is_dir() else self.folder


class Doing:
    """How a job is done, wherever its calls go.

    Args:
        settings: Name the embedder.
        concurrency: Users answered at once.
        listen: Is told what happens.
        lm_of: Gives the LM of a role; None is the LM of the context.
        engine: Where users are answered; by default in this process.
    """

    def __init__(
        self,
        settings: "Settings",
        *,
        concurrency: int = 1,
        listen: Listener = lambda _event: None,
        lm_of: "Callable[[str], dspy.LM | None]" = lambda _role: None,
        engine: Engine | None = None,
    ) -> None:
        self._settings, self._concurrency, self._listen, self._lm_of = settings, concurrency, listen, lm_of
        self._engine = engine or LocalEngine(lambda task: Workbench(task, settings, lm_of))

    async def evaluate(self, job: EvaluationJob, out: Path | None = None) -> dict[str, Evaluation]:
        """Do the whole job, task by task; a task whose protocol is written is finished.

        Args:
            job: What is done.
            out: Where rows, personas and protocols are kept; None keeps nothing.

        Raises:
            InputError: The data or the methods are not as they must be, or `out` holds another evaluation.
        """
        return {task: await self._evaluate(job, task, job.kept_in(out, task)) for task in job.tasks}

    async def _evaluate(self, job: EvaluationJob, task: str, out: Path | None) -> Evaluation:
        started, began = datetime.now(UTC), time.perf_counter()
        data = job.data(task)
        methods = methods_named(job.methods, data.task)
        with within(task), self._keeping_personas(out) as listen:
            result = await evaluate(
                methods,
                data,
                out=out,
                concurrency=self._concurrency,
                online=job.online,
                engine=self._engine,
                listen=listen,
            )
        if out is not None:
            write_protocol(out, self._protocol(job, data, started, time.perf_counter() - began, run_of(out)))
        return result

    @contextmanager
    def _keeping_personas(self, out: Path | None) -> Generator[Listener]:
        kept: set[tuple[str, str]] = set()
        with persona_file(out) as keep:

            def listen(event: Event) -> None:
                persona = event.persona if isinstance(event, UserPrepared) else None
                if persona is not None and (persona.method, persona.user_key) not in kept:
                    kept.add((persona.method, persona.user_key))
                    keep(persona)
                self._listen(event)

            yield listen

    def _protocol(
        self, job: EvaluationJob, data: LampData, started: datetime, seconds: float, run_id: str | None
    ) -> Protocol:
        roles = ("agent", "loss", "revision")
        lms = {role: as_written(lm.model) for role in roles if (lm := self._lm_of(role)) is not None}
        return Protocol(
            task=data.task,
            methods=job.methods,
            split=job.folder.name,
            online=job.online,
            users=job.users,
            questions=job.questions,
            seed=job.seed,
            question_ids={
                user_key(user.user_id): tuple(one.interaction_id for one in user.questions) for user in data.users
            },
            lms=lms,
            embedder=self._settings.embedder,
            versions={
                "personaagent": version("personaagent"),
                "dspy": version("dspy"),
                "python": platform.python_version(),
            },
            run_id=run_id or "",
            started=started,
            seconds=seconds,
            notes=data.notes,
        )


def unfinished_run(folder: Path | None) -> str | None:
    """Return the run whose rows a folder holds, to be taken up again; None if there is none."""
    if folder is None:
        return None
    runs = (run_of(one) for one in (folder, *sorted(folder.glob("*/"))))
    return next((run for run in runs if run is not None), None)


def open_journal_store(settings: "Settings") -> "AbstractContextManager[Store]":
    """Open the store of a home folder for its journal alone: other processes may have the folder open."""
    from ..data.store import Store

    settings.home.mkdir(parents=True, exist_ok=True)
    return Store.open(settings.database or settings.home / "store.db")
