"""A report before it has a format, and the two formats: a Markdown text and an HTML page, each by a template."""

import re
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path
from typing import NamedTuple, TypeVar

from ...data.errors import needing

_ON_ANY_PAPER = "svg { color: #222 } @media (prefers-color-scheme: dark) { svg { color: #ddd } }"
_SPECIAL = re.compile(r"([\\`*|#~]|\](?=[(\[:]))")  # a bracket is special only where it could end a link
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class Table(NamedTuple):
    """Rows of cells that are texts already."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


class Figure(NamedTuple):
    """A drawing; its name is that of its file."""

    name: str
    caption: str
    svg: str
    """One `svg` element whose texts and lines have the colour of the text around it."""

    @property
    def alone(self) -> str:
        """The element for a file of its own, where no text is around it: dark lines on light paper, else light ones."""
        start = self.svg.index(">") + 1
        return f"{self.svg[:start]}\n<style>{_ON_ANY_PAPER}</style>{self.svg[start:]}"


class Comparison(NamedTuple):
    """Texts side by side."""

    title: str
    columns: dict[str, tuple[str, ...]]
    """The lines of each column, from top to bottom, by its heading."""


class Question(NamedTuple):
    """A question and what each method made of it; in the page alone."""

    title: str
    answers: Table
    prompts: dict[str, str]
    """By method."""


Block = str | Table | Figure | Comparison | Question
"""A string is a paragraph."""
Fold = TypeVar("Fold", Comparison, Question)


class Report(NamedTuple):
    """All of it."""

    title: str
    sections: dict[str, dict[str, list[Block]]]
    """By section, then by part: what is said about one task."""

    @property
    def figures(self) -> list[Figure]:
        """Its drawings, in order."""
        parts = (blocks for section in self.sections.values() for blocks in section.values())
        return [block for blocks in parts for block in blocks if isinstance(block, Figure)]


def fitting(folds: Iterable[Fold], room: int) -> list[Fold]:
    """Return the first folds, as many as take about so many bytes of a page."""
    shown: list[Fold] = []
    for fold in folds:
        room -= len(escape(repr(fold)).encode())
        if room < 0:
            break
        shown.append(fold)
    return shown


def html(report: Report) -> str:
    """Return the report as a page."""
    return _rendered("report.html", report)


def markdown(report: Report) -> str:
    """Return the report as one text that ends with a newline."""
    return _rendered("report.md", report, finalize=_plain)


def _rendered(template: str, report: Report, finalize: Callable[[str], str] | None = None) -> str:
    with needing("report"):
        from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(["html"]),
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(report=report, anchor=_anchor)


def _anchor(title: str) -> str:
    """Return how GitHub names the place of a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def _plain(text: str) -> str:
    """Return a text that Markdown shows as it is: nothing in it is markup, a link or a picture."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()).translate(_ENTITIES))
