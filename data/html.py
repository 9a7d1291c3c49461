"""How nouns look in a notebook: plain HTML in the colours of the page around it, light or dark."""

from collections.abc import Iterable, Sequence
from html import escape
from itertools import chain

BLUE, ORANGE = "#0072b2", "#d55e00"
"""Of Okabe and Ito: the colour-blind tell them apart."""
_CELL = 'style="text-align: left; vertical-align: top; white-space: pre-wrap"'


class Html(str):
    """Markup. Any other text is shown as it is."""

    __slots__ = ()


def markup(text: object) -> Html:
    """Return what shows a text as it is: users and LMs wrote it, and nothing in it is markup."""
    return text if isinstance(text, Html) else Html(escape(str(text)))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> Html:
    """Return a table; without names of columns it has no head."""
    head = _row("th", columns) if any(columns) else ""
    body = "".join(_row("td", row) for row in rows)
    style = "text-align: left; white-space: nowrap"
    title = f'<caption style="{style}">{markup(caption)}</caption>' if caption else ""
    return Html(f"<table>{title}<thead>{head}</thead><tbody>{body}</tbody></table>")


def bar(share: float, label: str) -> Html:
    """Return a bar as long as a share, 0 to 1, of the room for it, and what it says beside it."""
    width = 6 * min(max(share, 0.0), 1.0)
    style = f"display: inline-block; width: {width:.2f}em; height: .7em; margin-right: .5em; background: {BLUE}"
    return Html(f'<span style="{style}"></span>{markup(label)}')


def fold(summary: str, lines: Iterable[str]) -> Html:
    """Return a summary that opens to a list."""
    items = "".join(f"<li>{markup(line)}</li>" for line in lines)
    return Html(f"<details><summary>{markup(summary)}</summary><ul>{items}</ul></details>")


def diff(text: str) -> Html:
    """Return the lines of a unified diff, without its heading."""
    kinds = {"+": ("ins", BLUE), "-": ("del", ORANGE)}
    shown = "".join(_changed(line, *kinds.get(line[:1], ("span", "transparent"))) for line in text.splitlines()[3:])
    return Html(shown or "<p>They read the same.</p>")


def _changed(line: str, name: str, colour: str) -> str:
    text = f'<{name} style="text-decoration: none">{markup(f"{line[:1]} {line[1:]}")}</{name}>'
    return f'<div style="padding-left: .5em; border-left: .3em solid {colour}">{text}</div>'


def _row(name: str, cells: Iterable[object]) -> str:
    shown = chain.from_iterable((f"<{name} {_CELL}>", markup(cell), f"</{name}>") for cell in cells)
    return f"<tr>{''.join(shown)}</tr>"
