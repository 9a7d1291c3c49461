"""`personaagent evaluate`: methods against questions, scored as LaMP scores and as we do."""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .context import Asking, Json, answering, err, out, print_json, settings
from .grouped import grouped
from .show import evaluation_table, progress_bar

if TYPE_CHECKING:
    from ..data.memory.embedder import Embedder
    from ..data.store import Store
    from ..data.task import Task
    from ..evaluation.events import Event
    from ..evaluation.methods import Constructor, Method
    from ..settings import Settings

_WITHOUT_LM = {"majority"}


@dataclass(frozen=True)
class Selection:
    """Which part of the data is evaluated."""

    users: Annotated[int | None, typer.Option(help="Draw N users.", min=1)] = None
    questions: Annotated[int | None, typer.Option(help="Draw N of these users' questions.", min=1)] = None
    seed: Annotated[int, typer.Option(help="Decides which are drawn.")] = 0


@dataclass(frozen=True)
class Run:
    """How the evaluation goes, and where its rows are kept."""

    k: Annotated[int, typer.Option(help="Interactions that rag retrieves.", min=1)] = 4
    concurrency: Annotated[int, typer.Option(help="How much is done at once.", min=1)] = 1
    out: Annotated[Path | None, typer.Option(help="Where rows are kept; by default in the home folder.")] = None
    as_json: Json = False


@grouped
def evaluate(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder with LaMP question and output files.")],
    task: Annotated[str, typer.Option(help="LaMP-1, LaMP-2M, LaMP-2N, LaMP-3, ...")],
    method: Annotated[list[str], typer.Option(help="majority, prompt, rag, rag-dense, personaagent; repeatable.")],
    selection: Selection,
    run: Run,
    asking: Asking,
) -> None:
    """Let each METHOD answer the questions in FOLDER; every answer is kept as a row, and the rows are scored."""
    import asyncio

    from ..data.lamp import load, task_named
    from ..evaluation.runner import evaluate as evaluate_methods
    from ..evaluation.selection import select

    kept = run.out or settings(context).home / "evaluations" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{task}"
    data = select(load(folder, task_named(task)), **asdict(selection))
    with ExitStack() as opened:
        methods = _methods(method, data.task, run.k, _Needs(settings(context), kept, opened))
        if set(method) - _WITHOUT_LM:
            opened.enter_context(answering(context, asking))
        listen = opened.enter_context(_progress())
        result = asyncio.run(evaluate_methods(methods, data, out=kept, concurrency=run.concurrency, listen=listen))
    if run.as_json:
        print_json({**result.as_json(), "seed": selection.seed, "rows": str(kept / "rows.jsonl")})
    else:
        out.print(evaluation_table(result))
        out.print(f"rows: {kept / 'rows.jsonl'}", markup=False)


@dataclass(frozen=True)
class _Needs:
    """What a method may need; opened only if the method is named."""

    settings: "Settings"
    folder: Path
    opened: ExitStack

    def embedder(self) -> "Embedder":
        from ..lms import open_embedder

        return open_embedder(self.settings.embedder)

    def store(self) -> "Store":
        from ..home import open_store

        self.folder.mkdir(parents=True, exist_ok=True)
        return self.opened.enter_context(open_store(self.folder, self.settings.model_copy(update={"database": None})))


def _methods(names: Sequence[str], task: "Task", k: int, needs: _Needs) -> "tuple[Method, ...]":
    from ..evaluation.methods import RagMethod, methods_named
    from ..evaluation.personaagent_method import PersonaAgentMethod

    others: dict[str, Constructor] = {
        "rag": lambda task: RagMethod(task, k=k),
        "rag-dense": lambda task: RagMethod(task, k=k, embedder=needs.embedder(), name="rag-dense"),
        "personaagent": lambda task: PersonaAgentMethod(task, needs.store()),
    }
    return methods_named(names, task, others)


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
