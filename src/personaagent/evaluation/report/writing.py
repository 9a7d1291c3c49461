"""Write a report of finished evaluations: rows, Markdown with figures, and one HTML page."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from ...data.alignment import Spend
from ...data.errors import writing
from ..protocol import read_evaluations
from ..rows import Row
from .analysis import TaskAnalysis, analyse
from .document import Block, Comparison, Figure, Report, Table, Words
from .personas import PersonaSection
from .sections import all_results, differences, drawings, section, what_was_run

if TYPE_CHECKING:
    from pyarrow import Schema

    from ...data.memory.embedder import Embedder


def html(report: Report) -> str:
    """Return the report as a page."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = files(__name__.rpartition(".")[0]).joinpath("page.html").read_text(encoding="utf-8")
    return environment.from_string(page).render(report=report, kind_of=_kind)


def _kind(block: Block) -> str:
    return type(block).__name__


FIGURES_FOLDER = "figures"

_SPECIAL = re.compile(r"([\\`*|#~]|\](?=[(\[:]))")  # a bracket is special only where it could end a link
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def markdown(report: Report) -> str:
    """Return the report as one text that ends with a newline."""
    lines = [f"# {_plain(report.title)}"]
    for chapter in report.sections:
        lines.append(f"## {_plain(chapter.title)}")
        for part in chapter.parts:
            lines.append(f"### {_plain(part.title)}")
            lines += (_block(block) for block in part.blocks)
    return "\n\n".join(lines) + "\n"


def _block(block: Block) -> str:
    match block:
        case Words(text):
            return _plain(text)
        case Table(columns, rows, caption):
            table = _table(columns, rows)
            return f"**{_plain(caption)}**\n\n{table}" if caption else table
        case Figure(name, caption):
            return f"![{name}]({FIGURES_FOLDER}/{name}.svg)\n\n{_plain(caption)}"
        case Comparison(title, columns, lines):
            cells = tuple("<br>".join(_plain(line) for line in column) for column in lines)
            return f"**{_plain(title)}**\n\n{_grid(columns, [cells])}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return _grid([_plain(column) for column in columns], [[_plain(cell) for cell in row] for row in rows])


def _grid(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    ruled = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in ruled)


def _plain(text: str) -> str:
    """Return a text that Markdown shows as it is: whoever wrote it, it is no markup, no link and no picture."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()).translate(_ENTITIES))


def write_jsonl(rows: Sequence[Row], path: Path) -> None:
    """Write a row a line."""
    path.write_text("".join(row.to_json() + "\n" for row in rows), encoding="utf-8")


def write_parquet(rows: Sequence[Row], path: Path) -> None:
    """Write a column for each field of a row; those of its spends are `spend.calls`, `preparation.calls` and so on.

    Probabilities are a JSON object of answers.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist([_flat(row) for row in rows], schema=_schema()), path)


def _schema() -> "Schema":
    import pyarrow as pa

    spend = {"calls": pa.int64(), "prompt_tokens": pa.int64(), "completion_tokens": pa.int64()}
    spend |= {"dollars": pa.float64(), "seconds": pa.float64()}
    names = [name for name in Row.model_fields if name not in {"spend", "preparation"}]
    columns = [(name, pa.float64() if name == "score" else pa.string()) for name in names]
    for spent in ("spend", "preparation"):
        columns += [(f"{spent}.{name}", kind) for name, kind in spend.items()]
    return pa.schema(columns)


def _flat(row: Row) -> dict[str, object]:
    flat: dict[str, object] = row.model_dump(exclude={"spend", "preparation"})
    flat["probabilities"] = row.probabilities and json.dumps(row.probabilities)
    for name, spend in (("spend", row.spend), ("preparation", row.preparation)):
        flat |= {f"{name}.{field}": spend and getattr(spend, field) for field in Spend.model_fields}
    return flat


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
