"""What is read of an LM's text: JSON however it is wrapped, or the one answer itself; never what is not said."""

from collections.abc import Sequence
from typing import Any, Literal

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError

from personaagent.programs.adapter import TerseJSONAdapter, choice_of
from personaagent.programs.respond import Respond
from personaagent.signatures import AnswerAsUser
from personaagent.testing import ScriptedLM

from .conftest import TASK


def signature(kind: Any, *more: str) -> type[dspy.Signature]:
    written: Any = dspy.Signature
    return written("query -> " + ", ".join(["response", *more])).with_updated_fields("response", type_=kind)


def read(written: str, kind: Any, *more: str) -> Any:
    return TerseJSONAdapter().parse(signature(kind, *more), written)["response"]


TAG = Literal["comedy", "dark comedy", "classic"]
STARS = Literal[1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("written", "kind", "meant"),
    [
        ("A film noir.", str, "A film noir."),
        ("  The user would say: noir \n", str, "The user would say: noir"),
        ('"noir"', str, "noir"),
        ('"Noir" is a style', str, '"Noir" is a style'),
        ("Response: noir", str, "noir"),
        ("**Response:** noir", str, "noir"),
        ("[[ ## response ## ]]\nnoir", str, "noir"),
        ("```\nnoir\n```", str, "noir"),
        ("Use {placeholders} here", str, "Use {placeholders} here"),
        ("<think>\nNoir? {not this}\n</think>\n\nclassic", str, "classic"),
        ("He wants noir.\n</think>\nclassic", TAG, "classic"),
        ("Dark Comedy", TAG, "dark comedy"),
        ("'comedy'.", TAG, "comedy"),
        ('{"response": "COMEDY"}', TAG, "comedy"),
        ('{"Response": "noir"}', str, "noir"),
        ('{"RESPONSE ": "noir"}', str, "noir"),
        ('{"answer": "noir"}', str, "noir"),
        ('Here it is:\n```json\n{"response": "noir"}\n```\nHope this helps!', str, "noir"),
        ('{"response": "noir"}\n{"response": "other"}', str, "noir"),
        ("{'response': 'noir',}", str, "noir"),
        ('{response: "noir"}', str, "noir"),
        ('{"response": "a "quoted" word"}', str, 'a "quoted" word'),
        ('{"response": "} and {"}', str, "} and {"),
        ("4", STARS, 4),
        ("4 stars", STARS, 4),
        ("4/5", STARS, 4),
        ("4.0 out of 5", STARS, 4),
        ("5/5", STARS, 5),
        ("I would give it 4 stars.", STARS, 4),
        ('{"response": "4 stars"}', STARS, 4),
        ('{"response": 4.0}', STARS, 4),
        ('["noir", "classic"]', list[str], ["noir", "classic"]),
        ("3", int, 3),
    ],
)
def test_what_is_said_is_read(written: str, kind: Any, meant: Any) -> None:
    assert read(written, kind) == meant


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("The user would say: comedy", TAG),
        ("comedy or classic", TAG),
        ("horror", TAG),
        ("", str),
        ("   ", str),
        ("<think>\nThe user wants", str),
        ("4.5", STARS),
        ("4½ stars", STARS),
        ("4 and a half", STARS),
        ("8/10", STARS),
        ("6", STARS),
        ("between 3 and 4", STARS),
        ("3-4 stars", STARS),
        ("many stars", STARS),
        ('["noir", "cla', list[str]),
        ("noir, classic", list[str]),
        ('{"response": "r', str),
        ('{"response": "noir"', str),
        ('{"response": ', str),
        ('{"', str),
        ('Here it is:\n```json\n{"response": "a film from', str),
        ('{"response": "comedy", "why": {"because": 1}', TAG),
        ('{"error": "noir"}', str),
        ('{"answers": ["noir", "classic"]}', str),
        ('{"answer": "noir", "why": "it rains"}', str),
    ],
)
def test_what_is_not_said_is_not_guessed(written: str, kind: Any) -> None:
    with pytest.raises(AdapterParseError) as caught:
        read(written, kind)
    assert caught.value.lm_response == written


def test_a_text_without_json_is_no_answer_of_several_fields() -> None:
    with pytest.raises(AdapterParseError):
        read("noir", str, "why")
    with pytest.raises(AdapterParseError):
        read('{"response": "noir"}', str, "why")
    assert read('{"Response": "noir", "WHY": "it rains"}', str, "why") == "noir"


@pytest.mark.parametrize(
    ("said", "answers", "meant"),
    [
        ("[1]", ("[1]", "[2]"), "[1]"),
        ("1", ("[1]", "[2]"), None),
        ("4 stars", tuple("12345"), "4"),
        ("a film of 1999", ("1998", "1999"), "1999"),
        ("dark", ("dark comedy", "classic"), None),
    ],
)
def test_an_answer_is_one_of_those_that_are_allowed(said: str, answers: Sequence[str], meant: str | None) -> None:
    assert choice_of(said, answers) == meant


@pytest.mark.parametrize(
    "written",
    ["Classic", "<think>comedy?</think>classic", '```json\n{"Response": "classic"}\n```', "response: classic"],
)
def test_a_decision_is_read_alike(written: str) -> None:
    with dspy.context(lm=ScriptedLM([written])):
        assert Respond(TASK, AnswerAsUser)(past="(nothing)", query="A film?").response == "classic"


@pytest.mark.parametrize("written", ['{"response": "answ\\u0000er \\ud83c 1"}', "answ\0er \ud83c 1"])
def test_nothing_that_no_database_takes_is_in_an_answer(written: str) -> None:
    assert read(written, str) == "answer \ufffd 1"
    assert read('{"response": "\\ud83c\\udf00"}', str) == "\U0001f300"
