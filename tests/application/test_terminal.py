"""What users and LMs wrote does nothing to a terminal."""

import pytest
from rich.table import Table
from rich.text import Text

from personaagent.progress import Terminal

ESCAPES = "a\x1b[2Jb\x1b]0;title\x07c\x9b31md\u202ee"


def _table(text: str) -> Table:
    table = Table("said")
    table.add_row(text)
    return table


@pytest.mark.parametrize("wrapped", [str, Text, _table], ids=["text", "rich text", "table"])
def test_control_characters_are_not_shown(wrapped: object) -> None:
    assert callable(wrapped)
    terminal = Terminal(force_terminal=True, width=80, highlight=False)
    with terminal.capture() as shown:
        terminal.print(wrapped(ESCAPES), markup=False)
    assert not set("\x1b\x07\x9b\u202e") & set(shown.get().replace("\x1b[0m", "").replace("\x1b[1m", ""))
    assert "a[2Jb" in shown.get()


def test_our_own_colours_are_shown() -> None:
    terminal = Terminal(force_terminal=True, width=80, highlight=False)
    with terminal.capture() as shown:
        terminal.print("red", style="red")
    assert "\x1b[31m" in shown.get()
