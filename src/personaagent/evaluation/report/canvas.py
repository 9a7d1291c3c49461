"""A drawing as one `svg` element that looks right on light and on dark paper, the same bytes each time."""

import io
import re
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

from .document import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#3b82c4", "#d9822b", "#5f9e3c", "#b0589b", "#8a7f3d", "#3f9d9a", "#c9504a", "#7a6bc2")
"""Can be told apart on light and on dark paper."""

BETTER, WORSE, BASE = COLOURS[2], COLOURS[6], "#888888"

_WIDTH = 6.4
_INK = "#123456"
"""Stands for the colour of the text around a drawing, which matplotlib has no word for."""

_STYLE = {
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 10,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "text.color": _INK,
    "text.parse_math": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
}
_HYPHENATED = re.compile(r"[^A-Za-z0-9]+")
_NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}


def drawn(name: str, caption: str, draw: "Callable[[Axes], None]", *, height: float = 3.6) -> Figure:
    """Draw a figure.

    Args:
        name: Names its file; what is neither a letter nor a digit becomes a hyphen.
        caption: What it shows, also for those who do not see it.
        draw: Draws on the axes.
        height: Inches; figures are all as wide.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        canvas = Canvas(figsize=(_WIDTH, height), layout="constrained")
        draw(canvas.subplots())
        file = io.StringIO()
        canvas.savefig(file, format="svg", transparent=True, metadata=_NO_METADATA)
    return Figure(_HYPHENATED.sub("-", name), caption, _element(file.getvalue(), caption))


def _element(svg: str, caption: str) -> str:
    """Return the `svg` element alone, as wide as there is room, in the colour of its surroundings."""
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor").strip()
    svg = re.sub(r'<g id="[^"]*"(/?)>', r"<g\1>", svg)  # ids would be there twice in a page of several drawings
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    opening = re.sub(r' (width|height)="[^"]*"', "", svg[: svg.index(">")])
    return f'{opening} role="img" aria-label="{escape(caption)}"{svg[svg.index(">") :]}'
