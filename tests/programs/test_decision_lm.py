"""Decisions of any LM: the request, what is read of the response, and what is refused."""

import logging

import dspy
import pytest
from dspy.lm15 import InvalidRequestError, RateLimitError, UnsupportedFeatureError

from personaagent.data.errors import AnswerError
from personaagent.programs.decision_lm import DecisionLM, is_certain
from personaagent.programs.module import ask
from personaagent.programs.respond import Respond
from personaagent.signatures import AnswerAsUser
from personaagent.testing import Reply, ScriptedLM, ScriptedRequest

from .conftest import TASK

TORN = {"comedy": 0.5, "classic": 0.3, "action": 0.2}


def decided(lm: dspy.LM) -> dict[str, float]:
    with dspy.context(lm=lm):
        found = Respond(TASK, AnswerAsUser)(past="(nothing)", query="A film?")
    assert found.lm_probabilities is not None
    return found.lm_probabilities


def test_the_lms_own_probabilities_are_taken() -> None:
    assert decided(ScriptedLM({"response": TORN})) == TORN


@pytest.mark.parametrize(
    "written", ["classic", "Classic", '"classic".', '{"response": "CLASSIC"}', '{"tag": "classic"}']
)
def test_an_answer_alone_is_certain_however_it_is_written(written: str) -> None:
    found = decided(ScriptedLM([written]))
    assert found == {"comedy": 0.0, "classic": 1.0, "action": 0.0}
    assert is_certain(found) and not is_certain(TORN)


def test_an_lm_that_gives_all_answers_the_same_is_taken_at_its_word_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lm = ScriptedLM({"response": dict.fromkeys(TASK.labels, 1 / 3)}, model="made-up/liar")
    with caplog.at_level(logging.WARNING):
        assert all(is_certain(decided(lm)) for _ in range(3))
    assert caplog.messages == ["made-up/liar gives all answers the same probability: its answers are taken as certain"]


def test_an_answer_that_is_not_allowed_is_asked_for_once_more() -> None:
    lm = ScriptedLM(["horror", {"response": TORN}])
    assert decided(lm) == TORN
    *_, written, again = lm.requests[1].request.messages
    assert written.text == "horror"
    assert "not one of the answers that are allowed" in (again.text or "")


def test_two_answers_that_are_not_allowed_are_an_answer_error() -> None:
    with pytest.raises(AnswerError, match="no readable response: 'western'"):
        decided(ScriptedLM(["horror", "western"]))


def test_probabilities_that_are_refused_are_asked_for_once(caplog: pytest.LogCaptureFixture) -> None:
    def answer(request: ScriptedRequest) -> Reply:
        return UnsupportedFeatureError("no such thing") if request.request.config.logprobs else {"response": "classic"}

    lm = ScriptedLM(answer, model="made-up/refusing")
    with caplog.at_level(logging.WARNING):
        assert all(is_certain(decided(lm)) for _ in range(3))
    assert len(lm.requests) == 4
    assert caplog.messages == ["made-up/refusing gives no log-probabilities: its answers are taken as certain"]


@pytest.mark.parametrize("error", [RateLimitError("busy"), InvalidRequestError("unknown model", status=404)])
def test_an_lm_that_fails_has_not_refused_probabilities(error: Exception) -> None:
    replies: list[Reply] = [error, error, {"response": TORN}]
    lm = ScriptedLM(replies)
    for _ in range(2):
        with pytest.raises(dspy.LMError):
            DecisionLM(lm)(STATE, QUESTIONS)
    assert DecisionLM(lm)(STATE, QUESTIONS)["response"]["probabilities"] == TORN


STATE = {"instructions": "Decide.", "input_fields": "1. `query` (str): what is asked", "inputs": {"query": "A film?"}}
QUESTIONS = {"response": {"instructions": "the answer", "criteria": dict.fromkeys(TASK.labels)}}


async def test_a_decision_can_be_awaited() -> None:
    found = await DecisionLM(ScriptedLM({"response": TORN})).acall(STATE, QUESTIONS)
    assert found["response"] == {"probabilities": TORN, "confidence": 0.5}


def test_a_decision_is_traced_as_any_call_so_that_optimizers_see_it() -> None:
    predict = Respond(TASK, AnswerAsUser).predict
    lm = ScriptedLM({"response": TORN})
    with dspy.context(lm=lm, trace=[]):
        ask(predict, past="(nothing)", query="A film?", lm=DecisionLM(lm))
        [(traced, inputs, prediction)] = dspy.settings.trace or []
    assert traced is predict
    assert inputs == {"past": "(nothing)", "query": "A film?"}
    assert prediction.response.value == "comedy"
