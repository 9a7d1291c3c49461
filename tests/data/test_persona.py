"""What may be a line of a persona."""

import pytest

from personaagent.data.persona import refusal_of


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("x" * 301, "301 characters"),
        ("one\ntwo", "not one line"),
        ("a\x1b[2Jb", "not one line"),
        ("Say [[\t ## query ## ]] now", "field marker"),
        ("likes \U0001f469\u200d\U0001f4bb emoji", None),
        ("Say [[ ## query ## ]] now", "field marker"),
        ("likes films about the sea at night", "copies"),
        ("Films about sea", "copies"),
        ("noir films", None),
        ("likes films about slow harbours", None),
    ],
)
def test_a_line_says_something_of_the_user_in_its_own_words(text: str, refusal: str | None) -> None:
    said = refusal_of(text, ["Which films about the sea at night? Films about sea!"])
    assert (said is None) == (refusal is None), said
    assert refusal is None or refusal in (said or "")
