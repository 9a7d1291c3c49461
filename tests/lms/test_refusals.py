"""Servers that refuse a part of a request: it is left out, remembered, said once, and a replay sees none of it."""

import json
import logging
import re
from pathlib import Path
from typing import Any

import dspy
import pytest

from personaagent.data.errors import LMError
from personaagent.data.store import Store
from personaagent.data.task import Task
from personaagent.journal import AGENT, new_run, open_run
from personaagent.lms import open_lm
from personaagent.programs.adapter import TerseJSONAdapter
from personaagent.programs.refusals import forget_refusals
from personaagent.programs.respond import Respond
from personaagent.signatures import AnswerAsUser

from ..loopback import Answering, Asked, Loopback, Reply
from .conftest import Journalled

SAYS_NOIR = Reply('{"response": "noir"}')


def refused(said: Any, status: int = 400) -> Reply:
    return Reply(status=status, body=json.dumps(said).encode())


def error(message: object) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}


def form_of(body: dict[str, Any]) -> str | None:
    return body.get("response_format", {}).get("type")


def takes_no_schema(request: Asked) -> Reply:
    if form_of(request.body) == "json_schema":
        return refused(error("This response_format type is unavailable now"))
    return SAYS_NOIR


def takes_no_form(request: Asked) -> Reply:
    if form_of(request.body):
        return refused(error("response_format is not supported by this model"))
    return Reply("noir")


def takes_only(*parameters: str) -> Answering:
    """Answer only what sets nothing else, and say no more than that."""

    def answering(request: Asked) -> Reply:
        known = {"model", "messages", "temperature", "max_tokens", *parameters}
        return refused(error("bad request")) if set(request.body) - known else SAYS_NOIR

    return answering


@pytest.mark.parametrize(
    ("answering", "forms", "said"),
    [
        (takes_no_schema, ["json_schema", "json_object"], "takes no JSON schema: it is asked for JSON of any form"),
        (
            takes_no_form,
            ["json_schema", "json_object", None],
            "takes no response format: the prompt alone says in which form to answer",
        ),
    ],
)
def test_a_server_that_refuses_a_form_of_answers_is_asked_for_less_and_that_is_remembered_and_said_once(
    lm: dspy.LM,
    server: Loopback,
    journalled: Journalled,
    caplog: pytest.LogCaptureFixture,
    answering: Answering,
    forms: list[str | None],
    said: str,
) -> None:
    server.answering = answering
    with caplog.at_level(logging.WARNING):
        assert journalled(lm, "one", "two") == ["noir", "noir"]
        assert journalled(open_lm("openai/made-up", api_base=server.url), "three") == ["noir"]
    assert [form_of(body) for body in server.received] == [*forms, forms[-1], forms[-1]]
    assert caplog.messages == [f"openai/made-up {said}"]


def test_a_journal_keeps_the_whole_request_whatever_the_server_takes(
    lm: dspy.LM, server: Loopback, journalled: Journalled
) -> None:
    server.answering = lambda _: SAYS_NOIR
    journalled(lm, "one")
    [usual] = journalled.calls
    forget_refusals()
    server.answering = takes_no_form
    journalled(lm, "one")
    [refusing] = journalled.calls
    assert refusing.request == usual.request
    assert "json_schema" in refusing.request


async def test_awaited_calls_are_asked_for_less_too(lm: dspy.LM, server: Loopback, tmp_path: Path) -> None:
    server.answering = takes_no_form
    with Store.open(tmp_path / "store.db") as store, open_run(store.journal, new_run("test"), {AGENT: lm}):
        predict = dspy.Predict("query -> response")
        for _ in range(2):
            with dspy.context(adapter=TerseJSONAdapter()):
                assert (await predict.acall(query="one")).response == "noir"
    assert [form_of(body) for body in server.received] == ["json_schema", "json_object", None, None]


def test_two_servers_are_remembered_apart(lm: dspy.LM, server: Loopback, journalled: Journalled) -> None:
    server.answering = lambda request: takes_no_form(request) if request.body["model"] == "made-up" else SAYS_NOIR
    journalled(lm, "one")
    journalled(open_lm("openai/another", api_base=server.url), "one")
    assert form_of(server.received[-1]) == "json_schema"


def test_what_was_left_out_in_vain_is_asked_for_again(lm: dspy.LM, server: Loopback, journalled: Journalled) -> None:
    task = Task(name="made up", kind="label", labels=("noir", "classic"))
    server.answering = takes_only("logprobs", "top_logprobs")
    decide = Respond(task, AnswerAsUser)
    journalled.do(lm, lambda: [decide(past="(nothing)", query=query).response for query in ("one", "two")])
    last = server.received[-1]
    assert "logprobs" in last
    assert form_of(last) is None


def test_a_server_that_refuses_everything_is_an_lm_error_after_a_few_requests(
    lm: dspy.LM, server: Loopback, journalled: Journalled
) -> None:
    server.answering = lambda _: refused(error("no such luck"))
    with pytest.raises(LMError, match="openai/made-up: no such luck"):
        journalled(lm, "one")
    assert [form_of(body) for body in server.received] == ["json_schema", "json_object", None]
    assert len(journalled.attempts) == 1


def test_a_server_by_url_gets_the_limit_that_every_server_knows(
    lm: dspy.LM, server: Loopback, journalled: Journalled
) -> None:
    server.answering = lambda _: SAYS_NOIR
    journalled(lm, "one")
    journalled(open_lm("openai/gpt-5-mini", api_base=server.url), "one")
    limits = [{name: body[name] for name in body if name.startswith("max_")} for body in server.received]
    assert limits == [{"max_tokens": 512}, {"max_completion_tokens": 16_000}]


@pytest.mark.parametrize(
    ("wanted", "refusal"),
    [
        ("max_completion_tokens", "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        ("max_tokens", [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"], "msg": "not permitted"}]),
    ],
)
def test_a_server_that_knows_another_name_for_the_limit_gets_that(
    server: Loopback, journalled: Journalled, wanted: str, refusal: object
) -> None:
    server.answering = lambda request: SAYS_NOIR if wanted in request.body else refused(error(refusal), status=422)
    model = "openai/made-up" if wanted == "max_completion_tokens" else "openai/gpt-5-mini"
    assert journalled(open_lm(model, api_base=server.url), "one", "two") == ["noir"] * 2
    assert [wanted in body for body in server.received] == [False, True, True]
    assert {form_of(body) for body in server.received} == {"json_schema"}


def test_a_limit_that_is_too_high_is_not_taken_for_an_unknown_name(
    lm: dspy.LM, server: Loopback, journalled: Journalled
) -> None:
    def answering(request: Asked) -> Reply:
        too_high = "max_tokens is too large: at most 100" if "max_tokens" in request.body else "what is this?"
        return refused(error(too_high))

    server.answering = answering
    with pytest.raises(LMError, match="too large: at most 100"):
        journalled(lm, "one")


def test_a_model_with_a_temperature_of_its_own_is_asked_without_one(
    lm: dspy.LM, server: Loopback, journalled: Journalled
) -> None:
    def answering(request: Asked) -> Reply:
        return refused(error("'temperature' does not support 0.0")) if "temperature" in request.body else SAYS_NOIR

    server.answering = answering
    assert journalled(lm, "one") == ["noir"]
    assert [form_of(body) for body in server.received] == ["json_schema", "json_schema"]


@pytest.mark.parametrize(
    "body",
    [
        error("the film is unknown"),
        error({"detail": "the film is unknown"}),
        {"object": "error", "message": "the film is unknown"},
        {"object": "error", "message": {"detail": [{"msg": "the film is unknown"}]}},
        {"detail": [{"loc": ["body"], "msg": "the film is unknown"}]},
        ["the film is unknown"],
        "the film is unknown",
        {"error": "the film is unknown"},
    ],
)
def test_what_a_server_says_of_a_refusal_is_shown_whatever_its_form(
    lm: dspy.LM, server: Loopback, journalled: Journalled, body: object
) -> None:
    server.answering = lambda _: refused(body)
    with pytest.raises(LMError, match="the film is unknown"):
        journalled(lm, "one")
    [attempt] = journalled.attempts
    assert attempt.failure is not None and "the film is unknown" in attempt.failure.message


async def test_awaited_too_what_a_server_says_is_shown(lm: dspy.LM, server: Loopback) -> None:
    server.answering = lambda _: refused({"detail": "the film is unknown"})
    with dspy.context(lm=lm), pytest.raises(dspy.LMError, match="the film is unknown"):
        await dspy.Predict("query -> response").acall(query="one")
    await lm.aclose()


def test_a_prompt_that_is_too_long_is_said_to_be_and_not_asked_again(
    lm: dspy.LM, server: Loopback, journalled: Journalled
) -> None:
    said = "This model's maximum context length is 8192 tokens. Please reduce the length of the messages."
    server.answering = lambda _: refused({"object": "error", "message": said, "type": "BadRequestError", "code": 400})
    with pytest.raises(LMError, match=re.escape("fewer or shorter inputs")) as caught:
        journalled(lm, "one")
    assert isinstance(caught.value.__cause__, dspy.ContextWindowExceededError)
    assert len(server.received) == 1


def test_a_program_outside_of_a_run_decides_without_what_is_refused(lm: dspy.LM, server: Loopback) -> None:
    server.answering = takes_no_form
    with dspy.context(lm=lm):
        found = Respond(Task(name="made up", kind="label", labels=("noir", "classic")), AnswerAsUser)(
            past="(nothing)", query="A film?"
        )
    assert found.response == "noir"
