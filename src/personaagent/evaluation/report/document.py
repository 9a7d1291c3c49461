"""A report before it has a format: sections of blocks, which Markdown and HTML show alike."""

from dataclasses import dataclass, field

_ON_ANY_PAPER = "svg { color: #222 } @media (prefers-color-scheme: dark) { svg { color: #ddd } }"


@dataclass(frozen=True)
class Words:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows of cells that are texts already."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Figure:
    """A drawing."""

    name: str
    """Names its file."""
    caption: str
    svg: str
    """One `svg` element whose texts and lines have the colour of the text around it."""

    @property
    def alone(self) -> str:
        """The element for a file of its own, where no text is around it: dark lines on light paper, else light ones."""
        start = self.svg.index(">") + 1
        return f"{self.svg[:start]}\n<style>{_ON_ANY_PAPER}</style>{self.svg[start:]}"


@dataclass(frozen=True)
class Comparison:
    """Texts side by side, line by line."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    """The lines of each column, from top to bottom."""


Block = Words | Table | Figure | Comparison


@dataclass(frozen=True)
class Part:
    """What a section says about one task."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Section:
    """One question that the report answers."""

    title: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Report:
    """All of it."""

    title: str
    sections: tuple[Section, ...] = field(default=())

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Its drawings, in order."""
        return tuple(
            block
            for section in self.sections
            for part in section.parts
            for block in part.blocks
            if isinstance(block, Figure)
        )
