"""Evaluate: let each method answer each question, keep the answers as rows, and score them."""

import platform
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Protocol

from pydantic import AfterValidator

from ..data.alignment import Spend
from ..data.call import as_written
from ..data.errors import InputError
from ..data.lamp import LampData, load
from ..data.metric import metric_named, scored_by
from ..data.nouns import Noun
from ..data.store import user_key
from ..data.task import Task, task_named
from ..journal.recorder import recorder_here
from ..programs.decision_lm import sharing_decisions
from ..programs.scope import within
from ..progress import progress_bar
from ..settings import Settings
from .answering import Answering, Emit, MethodJob, UserPrepared, for_each_user
from .calibration import with_weights
from .data import history_files, label_histories, load_histories, own_task, select, shuffle_users
from .methods import Method
from .names import methods_named
from .record import EvaluationProtocol, EvaluationWriter, Row, run_of, write_protocol, write_submissions
from .resources import LmOf, Resources
from .summary import Evaluation, summarise


@dataclass(frozen=True)
class EvaluationStarted:
    """Nothing has been asked yet."""

    methods: tuple[str, ...]
    users: int
    questions: int
    """Questions for each method."""


@dataclass(frozen=True)
class QuestionAnswered:
    """One more question is done, answered or not; its row is on disk."""

    row: Row
    done: int
    """Questions done, of all methods together."""
    total: int


Event = EvaluationStarted | UserPrepared | QuestionAnswered

Listener = Callable[[Event], None]
"""Is called with every event, in the event loop of the evaluation: it must return soon."""


class Engine(Protocol):
    """Has the questions of every user answered: in this process, or on a cluster."""

    async def answer(self, job: MethodJob, emit: Emit) -> None:
        """Answer each user's questions once, in the scope around this call, and emit the rows in this event loop."""
        ...


class LocalEngine:
    """Answers in this process, with the LMs of the DSPy context around it, and resources of its own for each method."""

    def __init__(self, resources: Callable[[Task], Resources] = Resources) -> None:
        self._resources = resources

    async def answer(self, job: MethodJob, emit: Emit) -> None:
        """Answer the users, as many at once as the job says, each one question at a time."""
        with self._resources(job.task) as resources, ThreadPoolExecutor(job.concurrency) as threads:
            job = await with_weights(job, resources)
            resources.adopt(job)
            answering = Answering(job, resources, threads)
            await for_each_user(job.users, lambda user: answering.answer(user, emit), concurrency=job.concurrency)


async def evaluate(
    methods: Sequence[Method],
    data: LampData,
    *,
    out: Path | None = None,
    concurrency: int = 4,
    online: bool = False,
    engine: Engine | None = None,
    listen: Listener | None = None,
) -> Evaluation:
    """Let each method answer each question, and score the answers.

    One method runs after the other, and so do a user's questions, in the order of time. LMs are those of the DSPy
    context around this call.

    Args:
        methods: What is evaluated; their names must differ.
        data: Users with histories, questions and golds; see `select` for a part of it.
        out: Folder for `rows.jsonl`, one row per method and question, and for `personas.jsonl`, written as they come;
            None keeps no file. Rows that the run around this call (see `journal.open_run`) left there are written anew,
            from its journal.
        concurrency: Users answered at once, at least 1.
        online: Whether each answered question joins its user's history before the next one is asked.
        engine: Where users are answered; by default in this process, see `LocalEngine`.
        listen: Is called with each event; by default a progress bar is shown, see `personaagent.progress`.

    Returns:
        The rows and their totals. A question that a method could not answer is a row too, with the error in it. Where
        no question has a gold, nothing is scored.

    Raises:
        InputError: There is no question, some have golds and others none, or `out` already holds rows.
        StorageError: The rows cannot be written.
    """
    _check(methods, data, concurrency)
    recorder, engine = recorder_here.get(), engine or LocalEngine()
    writer = EvaluationWriter(out, recorder and recorder.run_id)
    rows: list[Row] = []
    with sharing_decisions(), within(is_stored=False), _progress() if listen is None else nullcontext(listen) as told:
        told(EvaluationStarted(tuple(method.name for method in methods), len(data.users), len(data.questions)))
        emit = _keeping(rows, writer, told, len(methods) * len(data.questions))
        for method in methods:
            job = MethodJob(method, data.task, data.users, online, data.metric, concurrency=concurrency)
            await engine.answer(job, emit)
    return summarise(data.task, rows)


def _keeping(rows: list[Row], writer: EvaluationWriter, tell: Listener, total: int) -> Emit:
    """Return what writes rows and each user's first persona, adds the rows to the list, and tells the listener."""
    with_persona: set[tuple[str, str]] = set()

    def keep(event: UserPrepared | Row) -> None:
        if isinstance(event, Row):
            writer.write(event)
            rows.append(event)
            tell(QuestionAnswered(event, len(rows), total))
            return
        if event.persona is not None and (user := (event.method, event.user_key)) not in with_persona:
            with_persona.add(user)
            writer.write(event.persona)
        tell(event)

    return keep


@contextmanager
def _progress() -> Generator[Listener]:
    """Show the events on a progress bar: the questions of all methods, and the calls and tokens until now."""
    spend = Spend()
    with progress_bar() as progress:
        bar = progress.add_task("evaluating")

        def show(event: Event) -> None:
            nonlocal spend
            if isinstance(event, EvaluationStarted):
                progress.update(bar, total=len(event.methods) * event.questions)
                return
            of = event.row if isinstance(event, QuestionAnswered) else event
            spend += of.spend
            tokens = spend.prompt_tokens + spend.completion_tokens
            done = f"{of.method} ({spend.calls:,} calls, {tokens:,} tokens)"
            progress.update(bar, advance=isinstance(event, QuestionAnswered), description=done)

        yield show


def _check(methods: Sequence[Method], data: LampData, concurrency: int) -> None:
    names = [method.name for method in methods]
    if not names or len(set(names)) < len(names):
        raise InputError(f"methods {names}: name at least one, and each only once")
    if concurrency < 1:
        raise InputError(f"concurrency is {concurrency}: at least 1 thing must be done at once")
    if not data.questions:
        raise InputError("there are no questions to evaluate")
    without = [question.interaction_id for question in data.questions if question.ground_truth is None]
    if without and (len(without) < len(data.questions) or data.metric is not None):
        raise InputError(
            f"{len(without)} of {len(data.questions)} questions have no gold, the first is {without[0]!r}: answers are "
            "scored where all questions have golds, and only predicted where none has"
        )


class EvaluationJob(Noun):
    """What `personaagent evaluate` was asked to do, as it is recorded and can be done again."""

    folder: Annotated[Path, AfterValidator(Path.resolve)]
    """LaMP's files, OPPU's, or JSON lines of one's own; with several tasks, each in a folder of its name."""
    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    """Names, see `methods_named`."""
    split: str | None = None
    """`train`, `dev` or `test`, if the folder holds several of LaMP's splits."""
    users: int | None = None
    """Users drawn, of each task."""
    questions: int | None = None
    """Questions drawn, of each task."""
    seed: int = 0
    online: bool = False
    shuffle_users: bool = False
    """Whether each user is answered with the history of another: what is personal must then be worth nothing."""
    metric: str | None = None
    """Of one's own, as `metric_named` takes it; None for those of the task's kind."""

    def data(self, task: str) -> LampData:
        """Load the part of a task's data that is drawn."""
        folder = self.folder / task if (self.folder / task).is_dir() else self.folder
        if own := history_files(folder):
            data = load_histories(own, own_task(folder, task))
        else:
            data = label_histories(load(folder, task_named(task), self.split))
        if self.metric is not None:
            data = scored_by(data, metric_named(self.metric))
        data = select(data, users=self.users, questions=self.questions, seed=self.seed)
        return shuffle_users(data, seed=self.seed) if self.shuffle_users else data

    def check(self) -> None:
        """Refuse, with an `InputError`, what cannot be evaluated, before anything is paid."""
        for task in self.tasks:
            methods_named(self.methods, self.data(task).task)


async def run_job(
    job: EvaluationJob,
    settings: Settings,
    *,
    out: Path | None = None,
    concurrency: int = 1,
    lm_of: LmOf = lambda _role: None,
    engine: Engine | None = None,
) -> dict[str, Evaluation]:
    """Do a job, task by task; a task whose protocol is written is finished.

    Args:
        job: What is done.
        settings: Name the embedder.
        out: Where rows, personas and protocols are kept, of several tasks each in its own folder; None keeps nothing.
        concurrency: As for `evaluate`.
        lm_of: Gives the LMs of roles.
        engine: As for `evaluate`.

    Raises:
        InputError: The data or the methods are not as they must be, or `out` holds another evaluation.
    """
    engine = engine or LocalEngine(lambda task: Resources(task, settings, lm_of))
    evaluations: dict[str, Evaluation] = {}
    for task in job.tasks:
        folder = out / task if out is not None and len(job.tasks) > 1 else out
        started = datetime.now(UTC)
        data = job.data(task)
        methods, online = methods_named(job.methods, data.task), job.online
        with within(task):
            evaluation = await evaluate(
                methods, data, out=folder, concurrency=concurrency, online=online, engine=engine
            )
        evaluations[task] = evaluation
        if folder is not None:
            if not evaluation.has_golds:
                write_submissions(folder, data.task, evaluation.rows)
            lms = {role: lm.model for role in ("agent", "loss", "revision") if (lm := lm_of(role)) is not None}
            write_protocol(folder, _protocol(job, data, lms, settings.embedder, run_of(folder), started))
    return evaluations


def _protocol(
    job: EvaluationJob, data: LampData, lms: dict[str, str], embedder: str, run_id: str | None, started: datetime
) -> EvaluationProtocol:
    """Say how a task was evaluated that ends now."""
    versions = {package: version(package) for package in ("personaagent", "dspy")}
    return EvaluationProtocol(
        task=data.task,
        methods=tuple(method.name for method in methods_named(job.methods, data.task)),
        split=job.split or job.folder.name,
        question_ids={user_key(of.user_id): tuple(q.interaction_id for q in of.questions) for of in data.users},
        lms={role: as_written(model) for role, model in lms.items()},
        embedder=embedder,
        versions={**versions, "python": platform.python_version()},
        run_id=run_id or "",
        started=started,
        seconds=(datetime.now(UTC) - started).total_seconds(),
        notes=data.notes,
        **job.model_dump(include={"online", "users", "questions", "seed"}),
    )


def unfinished_run(folder: Path | None) -> str | None:
    """Return the run whose rows a folder holds, to be taken up again; None if there is none."""
    if folder is None:
        return None
    runs = (run_of(path) for path in (folder, *sorted(folder.glob("*/"))))
    return next((run for run in runs if run is not None), None)
