"""How long an answer may be. One that is cut is asked for once more with twice the room; then it is said to be cut."""

import json
from datetime import UTC, datetime

import dspy
import pytest

from personaagent.data.errors import AnswerError
from personaagent.data.interaction import Interaction
from personaagent.data.task import Task
from personaagent.journal import role_lms
from personaagent.lms import open_lm
from personaagent.optimizers.textual_loss import MeasureTextualLoss
from personaagent.programs.respond import Respond
from personaagent.settings import Settings
from personaagent.signatures import AnswerAsUser

from ..loopback import Answering, Asked, Loopback, Reply
from .conftest import Ask, Journalled

HALF = Reply('{"response": "a film from the ni', finish="length")
THINKING = {"role": "assistant", "content": None, "reasoning_content": "I should think about films..."}


def needs(tokens: int, cut: Reply = HALF) -> Answering:
    """Answer whole where an answer may have so many tokens."""

    def answering(request: Asked) -> Reply:
        return Reply('{"response": "noir"}') if request.body["max_tokens"] >= tokens else cut

    return answering


def rooms(server: Loopback) -> list[int]:
    return [body["max_tokens"] for body in server.received]


@pytest.mark.parametrize(
    "cut", [HALF, Reply("a film from the ni", finish="length"), Reply(message=THINKING, finish="length")]
)
def test_an_answer_that_is_cut_is_asked_for_once_more_with_twice_the_room(
    lm: dspy.LM, server: Loopback, journalled: Journalled, cut: Reply
) -> None:
    server.answering = needs(1024, cut)
    assert journalled(lm, "one") == ["noir"]
    assert rooms(server) == [512, 1024]
    first, second = server.received
    assert first["messages"] == second["messages"]
    assert [attempt.charged.tokens for attempt in journalled.attempts] == [10, 10]


@pytest.mark.parametrize(
    ("cut", "said"),
    [
        (HALF, "the answer was cut at 1,024 tokens: set PERSONAAGENT_MAX_ANSWER_TOKENS"),
        (Reply(message=THINKING, finish="length"), "cut at 1,024 tokens, while the LM was still thinking: set"),
    ],
)
def test_an_answer_that_is_cut_twice_says_at_how_many_tokens_and_what_to_set(
    lm: dspy.LM, server: Loopback, journalled: Journalled, cut: Reply, said: str
) -> None:
    server.answering = lambda _: cut
    with pytest.raises(AnswerError, match=said):
        journalled(lm, "one")
    assert rooms(server) == [512, 1024]


def test_a_decision_that_is_cut_gets_more_room_too(lm: dspy.LM, server: Loopback, journalled: Journalled) -> None:
    decide = Respond(Task(name="made up", kind="label", labels=("noir", "noir comedy")), AnswerAsUser)
    server.answering = needs(1024, Reply("noir", finish="length"))
    assert journalled.do(lm, lambda: decide(past="(nothing)", query="one").response) == "noir"
    assert rooms(server) == [512, 1024]
    server.answering = lambda _: HALF
    with pytest.raises(AnswerError, match="cut at 1,024 tokens"):
        journalled.do(lm, lambda: decide(past="(nothing)", query="two").response)


@pytest.mark.parametrize("decides", [False, True])
def test_a_server_that_does_not_give_more_room_makes_it_an_answer_that_was_cut(
    lm: dspy.LM, server: Loopback, journalled: Journalled, decides: bool
) -> None:
    decide = Respond(Task(name="made up", kind="label", labels=("noir", "classic")), AnswerAsUser)
    too_many = Reply(status=400, body=json.dumps({"error": {"message": "max_tokens is at most 512"}}).encode())
    server.answering = lambda request: HALF if request.body.get("max_tokens") == 512 else too_many
    work = (lambda: decide(past="(nothing)", query="one")) if decides else (lambda: Ask()(query="one"))
    with pytest.raises(AnswerError, match="cut at 512 tokens"):
        journalled.do(lm, work)


def test_an_answer_that_is_whole_is_taken_whatever_was_cut_after_it(
    lm: dspy.LM, server: Loopback, journalled: Journalled
) -> None:
    server.answering = lambda _: Reply('{"response": "noir"}\n\n\n and then', finish="length")
    assert journalled(lm, "one") == ["noir"]
    assert len(server.received) == 1


def test_an_lm_that_only_thinks_is_told_to_answer_and_then_said_to_have_said_nothing(
    lm: dspy.LM, server: Loopback, journalled: Journalled
) -> None:
    server.answering = lambda _: Reply(message=THINKING)
    with pytest.raises(AnswerError, match="no answer, nothing but thoughts"):
        journalled(lm, "one")
    assert "I should think" not in server.asked[1].text


def test_a_reply_that_stops_in_the_middle_of_its_json_is_no_answer(
    lm: dspy.LM, server: Loopback, journalled: Journalled
) -> None:
    server.answering = lambda _: Reply('{"response": "r')
    with pytest.raises(AnswerError, match="no readable response"):
        journalled(lm, "one")
    assert rooms(server) == [512, 512]
    assert "unreadable_answer" in server.asked[1].text


@pytest.mark.parametrize(("finish", "again"), [("length", [512, 1024]), ("stop", [512, 512])])
def test_a_critique_that_is_cut_is_none(
    lm: dspy.LM, server: Loopback, journalled: Journalled, finish: str, again: list[int]
) -> None:
    server.answering = lambda _: Reply('{"critique": "c', finish=finish)
    past = Interaction(interaction_id="m1", query="A film?", ground_truth="noir", at=datetime(2026, 1, 1, tzinfo=UTC))
    assert journalled.do(lm, lambda: MeasureTextualLoss()(interaction=past, response="classic").loss) is None
    assert rooms(server) == again


def test_the_length_of_an_answer_is_a_setting(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    assert role_lms(Settings(lm="openai/made-up"))["agent"].kwargs["max_tokens"] == 512
    monkeypatch.setenv("PERSONAAGENT_MAX_ANSWER_TOKENS", "2000")
    monkeypatch.setenv("PERSONAAGENT_LM_TIMEOUT", "45")
    [lm] = role_lms(Settings(lm="openai/made-up", api_base=server.url)).values()
    assert (lm.kwargs["max_tokens"], lm.kwargs["timeout"]) == (2000, 45.0)


def test_a_reasoning_model_that_is_cut_gets_more_room_under_its_own_name_for_it(
    server: Loopback, journalled: Journalled
) -> None:
    server.answering = lambda _: HALF
    with pytest.raises(AnswerError, match="cut at 32,000 tokens"):
        journalled(open_lm("openai/gpt-5-mini", api_base=server.url), "one")
    assert [body["max_completion_tokens"] for body in server.received] == [16_000, 32_000]
