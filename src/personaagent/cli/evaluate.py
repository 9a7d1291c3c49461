"""`personaagent evaluate`: methods against questions, scored as LaMP scores and as we do."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .context import Asking, Json, Spending, answering, err, out, print_json, settings_asking
from .grouped import grouped
from .show import evaluation_table, progress_bar

if TYPE_CHECKING:
    from ..data.call import Run as RecordedRun
    from ..evaluation.events import Event
    from ..runs import OpenRun
    from ..runs.planning import Plan
    from ..settings import Settings

_WITHOUT_LM = {"majority"}


@dataclass(frozen=True)
class Selection:
    """Which data are evaluated."""

    folder: Annotated[Path, typer.Argument(help="Folder with LaMP question and output files.")]
    task: Annotated[str, typer.Option(help="LaMP-1, LaMP-2M, LaMP-2N, LaMP-3, ...")]
    users: Annotated[int | None, typer.Option(help="Draw N users.", min=1)] = None
    questions: Annotated[int | None, typer.Option(help="Draw N of these users' questions.", min=1)] = None
    seed: Annotated[int, typer.Option(help="Decides which are drawn.")] = 0


@dataclass(frozen=True)
class Work:
    """How the evaluation goes, and where its rows are kept."""

    k: Annotated[int, typer.Option(help="Interactions that rag retrieves.", min=1)] = 4
    concurrency: Annotated[int, typer.Option(help="How much is done at once.", min=1)] = 1
    out: Annotated[Path | None, typer.Option(help="Where rows are kept; by default in the home folder.")] = None
    as_json: Json = False


@grouped
def evaluate(
    context: typer.Context,
    method: Annotated[list[str], typer.Option(help="majority, prompt, rag, rag-dense, personaagent; repeatable.")],
    selection: Selection,
    work: Work,
    asking: Asking,
    spending: Spending,
) -> None:
    """Let each METHOD answer the questions in FOLDER; every answer is kept as a row, and the rows are scored."""
    import asyncio

    from ..evaluation.job import EvaluationJob, unfinished_run
    from ..evaluation.runner import evaluate as evaluate_methods
    from ..runs import new_run

    configured = settings_asking(context, asking)
    job = EvaluationJob(methods=tuple(method), k=work.k, **asdict(selection))
    data = job.data()
    run = new_run("evaluate", job.model_dump(mode="json"), spending.run or unfinished_run(work.out))
    kept = work.out or configured.home / "evaluations" / f"{run.run_id}-{job.task}"
    with ExitStack() as opened:
        methods = job.constructed(data.task, configured, opened)
        paying = opened.enter_context(_paying(method, run, configured, spending))
        listen = opened.enter_context(_progress())
        result = asyncio.run(
            evaluate_methods(
                methods,
                data,
                out=None if spending.dry_run else kept,
                run_id=run.run_id if paying else None,
                concurrency=work.concurrency,
                listen=listen,
            )
        )
        if paying is not None:
            paying.result = result.fingerprint
    if spending.dry_run:
        return
    if work.as_json:
        numbers = {"seed": selection.seed, "rows": str(kept / "rows.jsonl"), "fingerprint": result.fingerprint}
        print_json({**result.as_json(), **numbers, "run": run.run_id})
    else:
        out.print(evaluation_table(result))
        out.print(f"rows: {kept / 'rows.jsonl'} (run {run.run_id})", markup=False)


@contextmanager
def _paying(
    methods: list[str], work: "RecordedRun", configured: "Settings", spending: Spending
) -> "Generator[OpenRun | Plan | None]":
    """Journal the calls, if any of the methods makes one."""
    from ..evaluation.job import open_journal_store

    if not set(methods) - _WITHOUT_LM:
        yield None
        return
    with open_journal_store(configured) as store, answering(store.journal, work, configured, spending) as paying:
        yield paying


@contextmanager
def _progress() -> "Generator[Callable[[Event], None]]":
    """Show the questions that are answered, of all methods together."""
    from ..evaluation.events import EvaluationStarted, QuestionAnswered, UserPrepared

    with progress_bar(err) as progress:
        bar = progress.add_task("evaluating", total=None)

        def show(event: "Event") -> None:
            match event:
                case EvaluationStarted(methods, _, questions):
                    progress.update(bar, total=len(methods) * questions)
                case UserPrepared(method):
                    progress.update(bar, description=method)
                case QuestionAnswered():
                    progress.update(bar, advance=1)

        yield show
