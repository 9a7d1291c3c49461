"""`personaagent evaluate` and `personaagent report`: methods against questions, and what came of it."""

import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..data.errors import InputError, TrackingError
from .context import AskingCertified, Json, Spending, grouped, paying, print_result, settings, warn

if TYPE_CHECKING:
    import dspy
    from rich.table import Table

    from ..data.call import Run
    from ..evaluation.ray_engine import RayEngine
    from ..evaluation.run import EvaluationJob
    from ..evaluation.summary import Evaluation
    from ..journal import OpenRun
    from ..journal.plan import Plan
    from ..settings import Settings

_log = logging.getLogger(__name__)
_MOST_OF_A_REASON = 300


@dataclass(frozen=True)
class Selection:
    """Which data are evaluated."""

    folder: Annotated[Path, typer.Argument(help="Files of LaMP, of OPPU or your own; tasks in folders so named.")]
    tasks: Annotated[
        list[str], typer.Option("--task", help="LaMP-1, LaMP-2M, ..., open, or that of task.json; repeatable.")
    ]
    split: Annotated[
        Literal["train", "dev", "test"] | None,
        typer.Option(help="If FOLDER holds several of LaMP's; without golds, predictions are written to be handed in."),
    ] = None
    users: Annotated[int | None, typer.Option(help="Draw N users of each task.", min=1)] = None
    questions: Annotated[int | None, typer.Option(help="Draw N of these users' questions, in turns.", min=1)] = None
    seed: Annotated[int, typer.Option(help="Decides which are drawn.")] = 0
    metric: Annotated[str | None, typer.Option(help="Of your own: my_module:my_metric, as for dspy.Evaluate.")] = None
    shuffle_users: Annotated[bool, typer.Option("--shuffle-users", help="Give each user another's history.")] = False
    online: Annotated[bool, typer.Option("--online", help="Each answered question joins the memory.")] = False


@dataclass(frozen=True)
class Methods:
    """What is evaluated."""

    method: Annotated[
        list[str] | None,
        typer.Option(help="rag, rag:k=8, personaagent:n=5, ..., my_module:MyMethod, program.json; repeatable."),
    ] = None
    ablations: Annotated[bool, typer.Option("--ablations", help="PersonaAgent without each of its parts.")] = False
    sweep: Annotated[list[str] | None, typer.Option(help="PersonaAgent for each value: n=1,3,5; repeatable.")] = None


@dataclass(frozen=True)
class Execution:
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
    execution: Execution,
    asking: AskingCertified,
    spending: Spending,
) -> None:
    """Let each METHOD answer the questions in FOLDER; every answer is kept as a row, and the rows are scored.

    Exit code 1 says that no row could be scored.
    """
    import asyncio

    from ..evaluation.ray_engine import check_cluster_use
    from ..evaluation.run import run_job, unfinished_run
    from ..evaluation.summary import fingerprint_of_all
    from ..journal import new_run

    configured = settings(context, asking)
    job = _job(selection, methods)
    job.check()
    if execution.engine == "ray":
        check_cluster_use(configured, spending.budget(), execution.address)
    elif execution.address is not None:
        raise InputError(f"--address {execution.address} is of a Ray cluster: add --engine ray")
    run = new_run("evaluate", job.model_dump(mode="json"), spending.run or unfinished_run(execution.out))
    kept = execution.out or configured.home / "evaluations" / run.run_id
    with _run_and_engine(job.methods, run, execution, configured, spending) as (opened, engine):
        at_once = execution.concurrency or (engine.cpus if engine else 1)
        lms: Mapping[str, dspy.LM] = opened.lms if opened else {}
        out = None if spending.dry_run else kept
        results = asyncio.run(run_job(job, configured, out=out, concurrency=at_once, lm_of=lms.get, engine=engine))
        if opened is not None:
            opened.result = fingerprint_of_all(results.values())
    if spending.dry_run:
        return
    about = {"seed": selection.seed, "run": run.run_id}
    _print_results(results, kept, about, as_json=execution.as_json)
    summaries = [of for result in results.values() if result.has_golds for of in result.methods.values()]
    if summaries and not any(summary.scored for summary in summaries):
        warn("nothing was scored")
        raise typer.Exit(1)


def _print_results(
    results: "Mapping[str, Evaluation]", kept: Path, about: Mapping[str, object], *, as_json: bool
) -> None:
    """Print the totals of each task, where the rows are, and why rows have no score."""
    from ..evaluation.summary import fingerprint_of_all, unscored
    from .terminal import evaluation_table

    rows = kept / "rows.jsonl" if len(results) == 1 else kept
    reasons, fingerprint = unscored(results.values()), fingerprint_of_all(results.values())
    lines: list[Table | str] = [evaluation_table(result) for result in results.values()]
    if without := ", ".join(task for task, result in results.items() if not result.has_golds):
        lines.append(f"{without}: no golds, so nothing is scored; submission-METHOD.json is to be handed in")
    lines.append(f"rows: {rows} (run {about['run']}); for a report: personaagent report {kept}")
    of_tasks = {task: result.as_json() for task, result in results.items()}
    fields = next(iter(of_tasks.values())) if len(of_tasks) == 1 else {"tasks": of_tasks}
    result = {**fields, **about, "unscored": reasons, "rows": str(rows), "fingerprint": fingerprint}
    print_result(result, lines, as_json=as_json)
    for reason, count in reasons.items():
        warn(f"{count} not scored: {' '.join(reason.split())[:_MOST_OF_A_REASON]}")


def _job(selection: Selection, methods: Methods) -> "EvaluationJob":
    from ..evaluation.names import ABLATIONS, swept
    from ..evaluation.run import EvaluationJob

    names = (*(methods.method or ()), *(ABLATIONS if methods.ablations else ()), *swept(methods.sweep or ()))
    return EvaluationJob(**vars(selection), methods=tuple(dict.fromkeys(names)))


@contextmanager
def _run_and_engine(
    methods: "Sequence[str]", run: "Run", execution: Execution, configured: "Settings", spending: Spending
) -> "Generator[tuple[OpenRun | Plan | None, RayEngine | None]]":
    """Journal the calls, if any of the methods makes one, and connect to the cluster that is asked for, if any."""
    from ..evaluation.names import WITHOUT_LM
    from ..home import open_journal_store
    from ..journal import OpenRun

    with ExitStack() as stack:
        opened = None
        if not {name.partition(":")[0] for name in methods} <= {method.kind for method in WITHOUT_LM}:
            store = stack.enter_context(open_journal_store(configured))
            opened = stack.enter_context(paying(store.journal, run, configured, spending))
        engine = None
        if execution.engine == "ray" and not spending.dry_run:  # What a dry run counts, it counts in this process.
            from ..evaluation.ray_engine import ray_engine

            recorded = opened.run if isinstance(opened, OpenRun) else None
            engine = stack.enter_context(ray_engine(configured, recorded, execution.address))
        yield opened, engine


def report(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="Where `evaluate --out` kept its rows.")],
    baseline: Annotated[
        str | None, typer.Option(help="The method to compare with; by default rag, else the first.")
    ] = None,
    numbers_only: Annotated[
        bool, typer.Option("--numbers-only", help="Leave out every text of users: personas, rows.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Report on the evaluations in OUT: numbers with intervals, differences, figures, personas; into OUT/report."""
    from ..evaluation.report import reading, write_report
    from ..evaluation.tracking import open_tracker
    from ..home import open_journal_store
    from ..lms import open_embedder

    configured = settings(context)
    embedder = open_embedder(configured.embedder)
    with open_journal_store(configured) as store:
        written = write_report(
            folder, embedder=embedder, baseline=baseline, numbers_only=numbers_only, journal=store.journal
        )
    try:
        open_tracker(configured).mirror(written.analyses)
    except TrackingError as error:  # The report stands without MLflow.
        _log.warning("%s", error)
    sentences = {analysis.task.name: list(reading(analysis)) for analysis in written.analyses}
    tasks = [{**analysis.as_json(), "reading": sentences[analysis.task.name]} for analysis in written.analyses]
    lines = [f"{task}: {sentence}" for task, found in sentences.items() for sentence in found]
    lines += [str(path) for path in written.files if path.parent == folder / "report"]
    result = {"tasks": tasks, "files": [str(path) for path in written.files]}
    print_result(result, lines, as_json=as_json)
