"""`personaagent evaluate`: methods against questions, scored as LaMP scores and as we do."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..data.task import Task
from .context import ApiBase, Json, Lm, asking, err, out, print_json, settings
from .show import evaluation_table, progress_bar

if TYPE_CHECKING:
    from ..evaluation.events import Event
    from ..evaluation.methods import Method

_WITHOUT_LM = {"majority"}


def evaluate(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder with LaMP question and output files.")],
    task: Annotated[str, typer.Option(help="LaMP-1, LaMP-2M, LaMP-2N, LaMP-3, ...")],
    method: Annotated[list[str], typer.Option(help="majority, prompt, rag, rag-dense, personaagent; repeatable.")],
    users: Annotated[int | None, typer.Option(help="Draw N users.", min=1)] = None,
    questions: Annotated[int | None, typer.Option(help="Draw N of their questions.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Decides which are drawn.")] = 0,
    k: Annotated[int, typer.Option(help="Interactions that rag retrieves.", min=1)] = 4,
    concurrency: Annotated[int, typer.Option(help="How much is done at once.", min=1)] = 1,
    out_folder: Annotated[Path | None, typer.Option("--out", help="Where rows are kept.")] = None,
    lm: Lm = None,
    api_base: ApiBase = None,
    as_json: Json = False,
) -> None:
    """Let each METHOD answer the questions in FOLDER; every answer is kept as a row, and the rows are scored."""
    from ..data.lamp import load, task_named
    from ..evaluation.runner import evaluate as run
    from ..evaluation.selection import select

    kept = out_folder or settings(context).home / "evaluations" / f"{datetime.now():%Y%m%d-%H%M%S}-{task}"
    data = select(load(folder, task_named(task)), users=users, questions=questions, seed=seed)
    with ExitStack() as open_things:
        methods = _methods(context, method, data.task, k, kept, open_things)
        if set(method) - _WITHOUT_LM:
            open_things.enter_context(asking(context, lm, api_base))
        listen = open_things.enter_context(_progress())
        result = asyncio.run(run(methods, data, out=kept, concurrency=concurrency, listen=listen))
    if as_json:
        print_json({**result.as_json(), "seed": seed, "rows": str(kept / "rows.jsonl")})
    else:
        out.print(evaluation_table(result))
        out.print(f"rows: {kept / 'rows.jsonl'}", markup=False)


def _methods(
    context: typer.Context, names: list[str], task: Task, k: int, folder: Path, open_things: ExitStack
) -> "tuple[Method, ...]":
    """Return the methods of these names; what they need is opened only if one of them is named."""
    from ..evaluation.methods import RagMethod, methods_named

    def persona_agent(task: Task) -> "Method":
        from ..evaluation.personaagent_method import PersonaAgentMethod
        from ..home import open_store

        folder.mkdir(parents=True, exist_ok=True)
        return PersonaAgentMethod(task, open_things.enter_context(open_store(folder, settings(context))))

    def dense(task: Task) -> "Method":
        from ..lms import open_embedder

        return RagMethod(task, k=k, embedder=open_embedder(settings(context).embedder), name="rag-dense")

    others: dict[str, Callable[[Task], Method]] = {
        "rag": partial(RagMethod, k=k),
        "rag-dense": dense,
        "personaagent": persona_agent,
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
