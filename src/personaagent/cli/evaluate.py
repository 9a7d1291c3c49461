"""`personaagent evaluate`: methods against questions, scored as LaMP scores and as we do."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..data.errors import InputError
from .context import AskingCertified, Json, Spending, answering, err, out, print_json, settings_asking
from .grouped import grouped
from .show import evaluation_table, progress_bar

if TYPE_CHECKING:
    import dspy
    from rich.progress import Progress

    from ..data.alignment import Spend
    from ..data.call import Run as RecordedRun
    from ..evaluation import Event
    from ..evaluation.ray_engine import RayEngine
    from ..evaluation.run import EvaluationJob
    from ..evaluation.summary import Evaluation
    from ..journal import OpenRun
    from ..journal.plan import Plan
    from ..settings import Settings

_WITHOUT_LM = {"majority", "knn"}


@dataclass(frozen=True)
class Selection:
    """Which data are evaluated."""

    folder: Annotated[Path, typer.Argument(help="Files of LaMP, of OPPU or your own; tasks in folders so named.")]
    task: Annotated[list[str], typer.Option(help="LaMP-1, LaMP-2M, ..., open, or that of task.json; repeatable.")]
    users: Annotated[int | None, typer.Option(help="Draw N users of each task.", min=1)] = None
    questions: Annotated[int | None, typer.Option(help="Draw N of these users' questions, in turns.", min=1)] = None
    seed: Annotated[int, typer.Option(help="Decides which are drawn.")] = 0
    metric: Annotated[str | None, typer.Option(help="Of your own: MODULE:FUNCTION, as for dspy.Evaluate.")] = None
    shuffle_users: Annotated[bool, typer.Option("--shuffle-users", help="Give each user another's history.")] = False
    online: Annotated[bool, typer.Option("--online", help="Each answered question joins the memory.")] = False


@dataclass(frozen=True)
class Methods:
    """What is evaluated."""

    method: Annotated[
        list[str] | None,
        typer.Option(help="majority, prompt, rag, rag:k=8,retriever=dense, personaagent:n=5, ...; repeatable."),
    ] = None
    ablations: Annotated[bool, typer.Option("--ablations", help="PersonaAgent without each of its parts.")] = False
    sweep: Annotated[list[str] | None, typer.Option(help="PersonaAgent for each value: n=1,3,5; repeatable.")] = None


@dataclass(frozen=True)
class Work:
    """How the evaluation goes, and where its rows are kept."""

    concurrency: Annotated[
        int | None, typer.Option(help="Users answered at once; default 1, with Ray one a CPU.", min=1)
    ] = None
    engine: Annotated[Literal["local", "ray"], typer.Option(help="This process, or a Ray cluster.")] = "local"
    address: Annotated[str | None, typer.Option(help="HOST:PORT of a Ray cluster; by default this machine's.")] = None
    out: Annotated[Path | None, typer.Option(help="Where rows are kept; by default in the home folder.")] = None
    as_json: Json = False


@grouped
def evaluate(
    context: typer.Context,
    selection: Selection,
    methods: Methods,
    work: Work,
    asking: AskingCertified,
    spending: Spending,
) -> None:
    """Let each METHOD answer the questions in FOLDER; every answer is kept as a row, and the rows are scored."""
    import asyncio

    from ..evaluation.run import run_job, unfinished_run
    from ..evaluation.summary import fingerprint_of_all
    from ..journal import new_run

    configured = settings_asking(context, asking)
    job = _job(selection, methods)
    job.check()
    _check(work, configured, spending)
    run = new_run("evaluate", job.model_dump(mode="json"), spending.run or unfinished_run(work.out))
    kept = work.out or configured.home / "evaluations" / run.run_id
    with (
        _paying(job.methods, run, configured, spending) as paying,
        _engine(work, configured, paying) as engine,
        _progress() as listen,
    ):
        at_once = work.concurrency or (engine.cpus if engine else 1)
        lms: Mapping[str, dspy.LM] = paying.lms if paying else {}
        rows_in = None if spending.dry_run else kept
        results = asyncio.run(
            run_job(job, configured, out=rows_in, concurrency=at_once, listen=listen, lm_of=lms.get, engine=engine)
        )
        if paying is not None:
            paying.result = fingerprint_of_all(results.values())
    if spending.dry_run:
        return
    rows = kept / "rows.jsonl" if len(job.tasks) == 1 else kept
    about = {"rows": str(rows), "fingerprint": fingerprint_of_all(results.values()), "run": run.run_id}
    if work.as_json:
        print_json({**_as_json(results), "seed": selection.seed, **about})
    else:
        for result in results.values():
            out.print(evaluation_table(result))
        out.print(f"rows: {rows} (run {run.run_id}); for a report: personaagent report {kept}", markup=False)


def _job(selection: Selection, methods: Methods) -> "EvaluationJob":
    from ..evaluation.names import ABLATIONS, swept
    from ..evaluation.run import EvaluationJob

    names = (*(methods.method or ()), *(ABLATIONS if methods.ablations else ()), *swept(methods.sweep or ()))
    return EvaluationJob(
        folder=selection.folder,
        tasks=tuple(selection.task),
        methods=tuple(dict.fromkeys(names)),
        users=selection.users,
        questions=selection.questions,
        seed=selection.seed,
        online=selection.online,
        shuffle_users=selection.shuffle_users,
        metric=selection.metric,
    )


def _as_json(results: "Mapping[str, Evaluation]") -> dict[str, object]:
    """Return the one result as it is, several by task."""
    if len(results) == 1:
        [result] = results.values()
        return {**result.as_json()}
    return {"tasks": {task: result.as_json() for task, result in results.items()}}


@contextmanager
def _paying(
    methods: "Sequence[str]", work: "RecordedRun", configured: "Settings", spending: Spending
) -> "Generator[OpenRun | Plan | None]":
    """Journal the calls, if any of the methods makes one."""
    from ..evaluation.run import open_journal_store

    if {name.partition(":")[0] for name in methods} <= _WITHOUT_LM:
        yield None
        return
    with open_journal_store(configured) as store, answering(store.journal, work, configured, spending) as paying:
        yield paying


def _check(work: Work, configured: "Settings", spending: Spending) -> None:
    if work.engine == "ray":
        from ..evaluation.ray_engine import check_cluster_use

        check_cluster_use(configured, spending.budget(), work.address)
    elif work.address is not None:
        raise InputError(f"--address {work.address} is of a Ray cluster: add --engine ray")


@contextmanager
def _engine(work: Work, configured: "Settings", paying: "OpenRun | Plan | None") -> "Generator[RayEngine | None]":
    """Connect to the cluster that is asked for, if any; what a dry run counts, it counts in this process."""
    from ..journal.plan import Plan

    if work.engine == "local" or isinstance(paying, Plan):
        yield None
        return
    from ..evaluation.ray_engine import ray_engine

    with ray_engine(configured, paying and paying.run, work.address) as engine:
        yield engine


@contextmanager
def _progress() -> "Generator[Callable[[Event], None]]":
    """Show the questions of each task that are answered, of all methods together, and what they cost."""
    with progress_bar(err) as progress:
        yield _Shown(progress)


class _Shown:
    """Shows the events of evaluations, a bar for each."""

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._calls = self._tokens = 0

    def __call__(self, event: "Event") -> None:
        from ..evaluation import EvaluationStarted, QuestionAnswered, UserPrepared

        match event:
            case EvaluationStarted(methods, _, questions):
                self._bar = self._progress.add_task("evaluating", total=len(methods) * questions)
            case UserPrepared(method, _, spend):
                self._add(method, spend)
            case QuestionAnswered(row):
                self._add(row.method, row.spend)
                self._progress.advance(self._bar)

    def _add(self, method: str, spend: "Spend") -> None:
        self._calls += spend.calls
        self._tokens += spend.prompt_tokens + spend.completion_tokens
        described = f"{method} ({self._calls:,} calls, {self._tokens:,} tokens)"
        self._progress.update(self._bar, description=described)
