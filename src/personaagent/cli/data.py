"""`personaagent data`: official data sets."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .context import Json, print_result

app = typer.Typer(help="Fetch LaMP's official files.", no_args_is_help=True)


@app.callback()
def data() -> None:
    """Fetch LaMP's official files."""


@app.command()
def fetch(
    task: Annotated[str, typer.Argument(help="LaMP-1, LaMP-2M, LaMP-2N, LaMP-3, LaMP-4, LaMP-5 or LaMP-7.")],
    split: Annotated[Literal["train", "dev", "test"], typer.Option(help="Which split.")] = "dev",
    time_based: Annotated[bool, typer.Option("--time-based", help="The time-based separation.")] = False,
    into: Annotated[Path, typer.Option("--into", help="Where the folder of the task is made.")] = Path("lamp"),
    as_json: Json = False,
) -> None:
    """Download questions and outputs from LaMP's site; its licence (CC BY-NC-SA 4.0) and each source's apply."""
    from ..data.lamp.fetch import fetch as fetch_files
    from ..data.task import task_named
    from .terminal import bytes_bar

    with bytes_bar() as on_progress:
        files = fetch_files(task_named(task), split, into / task, time_based=time_based, on_progress=on_progress)
    paths = [str(file) for file in files]
    print_result({"files": paths}, paths, as_json=as_json)
