"""Markdown and HTML show whatever a text says, and do nothing that it says."""

import re
from html.parser import HTMLParser

import pytest

from personaagent.evaluation.report.document import (
    Block,
    Comparison,
    Figure,
    Question,
    Report,
    Table,
    fitting,
    html,
    markdown,
)

HOSTILE = "<script>alert(1)</script> ![x](http://evil.example/x.png) [y](javascript:1) | `z` <img src=x>"
FIGURE = Figure("drawn", "A circle.", '<svg viewBox="0 0 1 1" role="img"><circle r="1"/></svg>')


class Tags(HTMLParser):
    """Collects what a page would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.links: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href")]


def hostile_report() -> Report:
    blocks: list[Block] = [
        HOSTILE,
        Table((HOSTILE, "n"), ((HOSTILE, "1"),), HOSTILE),
        FIGURE,
        Comparison(HOSTILE, {"first": (HOSTILE,), HOSTILE: ("Be brief.", HOSTILE)}),
        Question(HOSTILE, Table((HOSTILE,), ((HOSTILE,),)), {HOSTILE: HOSTILE}),
    ]
    return Report(HOSTILE, {"Findings": {"p": ["One."]}, HOSTILE: {HOSTILE: blocks}})


def test_html_holds_no_tag_of_a_text() -> None:
    tags = Tags()
    tags.feed(html(hostile_report()))
    assert {"script", "img", "iframe", "link"}.isdisjoint(tags.names)
    assert tags.links == ["#part-2"], "the contents lead to places in the page, and nothing else is a link"
    assert tags.names.count("svg") == 1


def test_html_shows_the_text_itself() -> None:
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html(hostile_report())


def test_markdown_holds_no_tag_link_or_picture_of_a_text() -> None:
    text = markdown(hostile_report())
    assert "<script" not in text
    assert "<img" not in text
    links = re.findall(r"(?<!\\)\]\(([^)]*)\)", text)
    assert [link for link in links if not re.fullmatch(r"#[\w-]+", link)] == ["figures/drawn.svg"]
    assert len(links) == 2, "the other is that of the contents"


def one_part(*blocks: Block) -> Report:
    return Report("r", {"s": {"p": [*blocks]}})


def test_markdown_tables_keep_their_columns() -> None:
    table = Table(("a", "b"), (("x | y", "two\nlines"),))
    assert "| a | b |\n| --- | --- |\n| x \\| y | two lines |" in markdown(one_part(table))


def test_markdown_is_readable_as_it_is() -> None:
    table = Table(("method", "macro_f1"), (("rag:k=8", "0.500 [0.400, 0.600]"),), "Scores")
    assert markdown(one_part(table, FIGURE)).splitlines() == [
        *("# r", "", "## s", "", "### p", "", "**Scores**", ""),
        *("| method | macro_f1 |", "| --- | --- |", "| rag:k=8 | 0.500 [0.400, 0.600] |", ""),
        *("![drawn](figures/drawn.svg)", "", "A circle."),
    ]


@pytest.mark.parametrize("needed", ["prefers-color-scheme", "color-scheme: light dark"])
def test_drawings_and_page_follow_light_and_dark(needed: str) -> None:
    assert needed in FIGURE.alone + html(hostile_report())


def test_a_page_has_as_many_folds_as_there_is_room_for() -> None:
    folds = [Comparison(f"User {number}", {"persona": ("x" * 100,)}) for number in range(9)]
    assert fitting(folds, 10_000) == folds
    assert fitting(folds, 500) == folds[:2]
    assert fitting([Comparison("<" * 100, {})], 300) == [], "a character may take several in a page"


def test_contents_come_after_the_findings() -> None:
    sections: dict[str, dict[str, list[Block]]] = {
        name: {"p": ["x"]} for name in ("Findings", "What was run", "Results")
    }
    page, text = html(Report("r", sections)), markdown(Report("r", sections))
    assert page.index("Findings") < page.index('<a href="#part-2">What was run</a>') < page.index('id="part-2"')
    assert text.index("## Findings") < text.index("- [Results](#results)") < text.index("## What was run")


def test_a_page_asks_nobody_for_anything() -> None:
    page = html(hostile_report())
    assert "default-src 'none'" in page
    assert 'name="viewport"' in page
