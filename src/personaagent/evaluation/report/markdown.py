"""A report as Markdown, with its drawings in files beside it."""

import re
from collections.abc import Sequence

from .document import Block, Comparison, Figure, Report, Table, Words

FIGURES_FOLDER = "figures"

_SPECIAL = re.compile(r"([\\`*|#~]|\](?=[(\[:]))")  # a bracket is special only where it could end a link
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def markdown(report: Report) -> str:
    """Return the report as one text that ends with a newline."""
    lines = [f"# {_plain(report.title)}"]
    for section in report.sections:
        lines.append(f"## {_plain(section.title)}")
        for part in section.parts:
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
