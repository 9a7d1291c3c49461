"""`personaagent report`: finished evaluations as tables, figures and sentences."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..data.errors import TrackingError
from .context import Json, out, print_json, settings

if TYPE_CHECKING:
    from ..evaluation.report import TaskAnalysis
    from ..settings import Settings

_log = logging.getLogger(__name__)


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
    from ..lms import open_embedder

    configured = settings(context)
    embedder = open_embedder(configured.embedder)
    written = write_report(folder, embedder=embedder, baseline=baseline, numbers_only=numbers_only)
    _mirror(configured, written.analyses)
    if as_json:
        tasks = [{**analysis.as_json(), "reading": list(reading(analysis))} for analysis in written.analyses]
        print_json({"tasks": tasks, "files": [str(path) for path in written.files]})
        return
    for analysis in written.analyses:
        for sentence in reading(analysis):
            out.print(f"{analysis.task.name}: {sentence}", markup=False)
    for path in written.files:
        if path.parent == folder / "report":
            out.print(str(path), markup=False)


def _mirror(configured: "Settings", analyses: "tuple[TaskAnalysis, ...]") -> None:
    """Mirror to MLflow; the report stands without it."""
    from ..evaluation.tracking import open_tracker

    try:
        open_tracker(configured).mirror(analyses)
    except TrackingError as error:
        _log.warning("%s", error)
