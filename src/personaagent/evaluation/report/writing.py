"""Write a report of finished evaluations: rows, Markdown with figures, and one HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...data.errors import writing
from ..protocol import read_evaluations
from .analysis import TaskAnalysis, analyse
from .document import Report
from .html import html
from .markdown import FIGURES_FOLDER, markdown
from .persona_section import PersonaSection
from .rows_files import write_jsonl, write_parquet
from .sections import all_results, differences, drawings, section, what_was_run

if TYPE_CHECKING:
    from ...data.memory.embedder import Embedder

REPORT_FOLDER = "report"


@dataclass(frozen=True)
class WrittenReport:
    """A report on disk, and its numbers."""

    analyses: tuple[TaskAnalysis, ...]
    """A task each, by task name."""
    files: tuple[Path, ...]
    """What was written, figures last."""


def write_report(
    folder: Path, *, embedder: "Embedder", baseline: str | None = None, numbers_only: bool = False
) -> WrittenReport:
    """Write the report of the evaluations under a folder into its `report` folder, over an earlier one.

    The same evaluations give the same bytes of `report.md` and `report.html`.

    Args:
        folder: Holds one finished evaluation, or a folder for each.
        embedder: Places personas on the map.
        baseline: The method that the others are compared with; see `analyse`.
        numbers_only: Whether every text about or by users is left out: personas, and rows with their answers. Rows of
            an earlier report are removed, so that the folder can be shown around.

    Raises:
        InputError: There is nothing finished, or it cannot be read.
        UnknownNameError: No evaluation has the baseline.
        StorageError: The report cannot be written.
    """
    analyses = analyse(read_evaluations(folder), baseline)
    report = report_of(analyses, embedder, texts=not numbers_only)
    target = folder / REPORT_FOLDER
    with writing(target):
        files = _write(report, target, analyses, numbers_only=numbers_only)
    return WrittenReport(analyses, files)


def report_of(analyses: Sequence[TaskAnalysis], embedder: "Embedder", *, texts: bool) -> Report:
    """Return the report; with `texts`, the personas themselves are in it."""
    make = partial(section, analyses=analyses)
    sections = (
        what_was_run(analyses),
        all_results(analyses),
        make("Differences", part_of=differences),
        make("Effects, ablations, scaling and cost", part_of=drawings),
        make("Personas", part_of=PersonaSection(embedder, texts=texts)),
    )
    tasks = ", ".join(analysis.task.name for analysis in analyses)
    return Report(f"Evaluation of {tasks}", tuple(one for one in sections if one.parts))


def _write(report: Report, target: Path, analyses: Sequence[TaskAnalysis], *, numbers_only: bool) -> tuple[Path, ...]:
    drawn = target / FIGURES_FOLDER
    drawn.mkdir(parents=True, exist_ok=True)
    for stale in (target / "rows.jsonl", target / "rows.parquet", *drawn.glob("*.svg")):
        stale.unlink(missing_ok=True)
    texts = {target / "report.md": markdown(report), target / "report.html": html(report)}
    texts |= {drawn / f"{figure.name}.svg": figure.alone + "\n" for figure in report.figures}
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    if numbers_only:
        return tuple(texts)
    rows = [row for analysis in analyses for row in analysis.evaluation.rows]
    write_jsonl(rows, target / "rows.jsonl")
    write_parquet(rows, target / "rows.parquet")
    return (target / "rows.jsonl", target / "rows.parquet", *texts)
