"""An answer while it is written."""

import pytest

from personaagent.programs.streaming import Pieces, response_in


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("", ""),
        ('{"resp', ""),
        ('{"response": "A qu', "A qu"),
        ('{"response": "A quiet film."}', "A quiet film."),
        ('```json\n{ "response" : "A', "A"),
        ('{"response": "a \\"quiet\\" film', 'a "quiet" film'),
        ('{"response": "line\\nbreak \\', "line\nbreak "),
        ('{"response": "caf\\u00', "caf"),
        ('{"response": "caf\\u00e9', "café"),
        ('{"response": "\\ud83d', ""),
        ('{"response": "\\ud83d\\ude00', "\U0001f600"),
        ('{"response": {"title": "Sea"', ""),
        ("A quiet film.", ""),
    ],
)
def test_the_answer_is_read_as_far_as_it_is_written(written: str, text: str) -> None:
    assert response_in(written) == text


def test_each_character_is_told_once_and_an_answer_that_is_written_anew_goes_on() -> None:
    told: list[str] = []
    pieces = Pieces(told.append)
    whole = '{"response": " A quiet film. "}'
    for end in range(len(whole) + 1):
        pieces.hear(whole[:end])
    assert "".join(told) == "A quiet film."
    pieces.hear('{"response": "A quiet film. And')
    pieces.hear('{"response": "Another')
    assert "".join(told) == "A quiet film. And"
