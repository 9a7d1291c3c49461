"""Reports of finished evaluations: what was run, what came of it, and how sure that is.

A report is rows, a Markdown text with figures, and one HTML page.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...data.alignment import Spend
from ...data.errors import InputError, writing
from ...data.memory.embedder import Embedder
from ...data.store.journal import Journal
from ..record import Row, read_evaluations
from .analysis import Compared, MethodResult, TaskAnalysis, analyse
from .document import Report, html, markdown
from .questions import prompts_of
from .sections import reading, report_of

__all__ = [
    "Compared",
    "MethodResult",
    "TaskAnalysis",
    "WrittenReport",
    "analyse",
    "reading",
    "report_of",
    "write_report",
]


@dataclass(frozen=True)
class WrittenReport:
    """A report on disk, and its numbers."""

    analyses: tuple[TaskAnalysis, ...]
    """A task each, by task name."""
    files: tuple[Path, ...]
    """What was written, figures last."""


def write_report(
    folder: Path,
    *,
    embedder: Embedder,
    baseline: str | None = None,
    numbers_only: bool = False,
    journal: Journal | None = None,
) -> WrittenReport:
    """Write the report of the evaluations under a folder into its `report` folder, over an earlier one.

    The same evaluations give the same bytes of `report.md` and `report.html`.

    Args:
        folder: Holds one finished evaluation, or a folder for each.
        embedder: Places personas on the map.
        baseline: The method that the others are compared with; see `analyse`.
        numbers_only: Whether every text about or by users is left out: personas, questions, and rows with their
            answers. Rows of an earlier report are removed, so that the folder can be published.
        journal: Has the prompts of the questions, if their run was recorded in it.

    Raises:
        InputError: There is nothing finished, or it cannot be read.
        UnknownNameError: No evaluation has the baseline.
        StorageError: The report cannot be written.
    """
    evaluations = read_evaluations(folder)
    for evaluation in evaluations:
        if all(row.gold is None for row in evaluation.rows):
            raise InputError(
                f"{folder}: the questions of {evaluation.protocol.task.name} have no golds, so there is nothing to "
                "report: hand in submission-METHOD.json there"
            )
    analyses = analyse(evaluations, baseline)
    runs = dict.fromkeys(evaluation.protocol.run_id for evaluation in evaluations)
    calls = (call for run in runs for call in journal.calls(run)) if journal and not numbers_only else ()
    report = report_of(analyses, embedder, texts=not numbers_only, prompts=prompts_of(calls))
    rows = [] if numbers_only else [row for evaluation in evaluations for row in evaluation.rows]
    with writing(folder / "report"):
        return WrittenReport(analyses, _write(report, folder / "report", rows))


def _write(report: Report, target: Path, rows: Sequence[Row]) -> tuple[Path, ...]:
    drawn = target / "figures"
    drawn.mkdir(parents=True, exist_ok=True)
    row_files = (target / "rows.jsonl", target / "rows.parquet")
    for stale in (*row_files, *drawn.glob("*.svg")):
        stale.unlink(missing_ok=True)
    texts = {target / "report.md": markdown(report), target / "report.html": html(report)}
    texts |= {drawn / f"{figure.name}.svg": figure.alone + "\n" for figure in report.figures}
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    if not rows:
        return tuple(texts)
    row_files[0].write_text("".join(row.to_json() + "\n" for row in rows), encoding="utf-8")
    _write_parquet(rows, row_files[1])
    return (*row_files, *texts)


def _write_parquet(rows: Sequence[Row], path: Path) -> None:
    """Write a column for each field of a row; those of its spends are `spend.calls`, `preparation.calls` and so on.

    Probabilities are a JSON object of answers.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = {"dollars": pa.float64(), "seconds": pa.float64()}
    spend = pa.struct([(name, numbers.get(name, pa.int64())) for name in Spend.model_fields])
    kinds = {"score": pa.float64(), "spend": spend, "preparation": spend}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in Row.model_fields])
    lines = [{**row.model_dump(), "probabilities": row.probabilities and json.dumps(row.probabilities)} for row in rows]
    pq.write_table(pa.Table.from_pylist(lines, schema=schema).flatten(), path)
