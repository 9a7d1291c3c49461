"""A report as one HTML file that needs nothing else: no script, no font, no picture from elsewhere."""

from importlib.resources import files

from .document import Block, Report


def html(report: Report) -> str:
    """Return the report as a page."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = files(__name__.rpartition(".")[0]).joinpath("page.html").read_text(encoding="utf-8")
    return environment.from_string(page).render(report=report, kind_of=_kind)


def _kind(block: Block) -> str:
    return type(block).__name__
