"""Decisions of an OpenAI-compatible server: one that gives log-probabilities, one that refuses, one that does neither,
and one that lies. Each answers, journalled or not."""

import json
import logging
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.lm15 import Config, Message, Request

from personaagent.data.store import Store
from personaagent.data.task import Task
from personaagent.journal import AGENT, new_run, open_run
from personaagent.lms import open_lm
from personaagent.programs.respond import Respond
from personaagent.signatures import AnswerAsUser

from ..loopback import Answering, Asked, Loopback, Reply, loopback

TASK = Task(name="made up", kind="label", labels=("dark comedy", "dark drama", "classic"))
WRITTEN = [
    ('{"', {}),
    ("response", {}),
    ('": "', {}),
    ("dark", {"dark": 0.8, "class": 0.15, "the": 0.05}),
    (" drama", {" drama": 0.75, " comedy": 0.25}),
    ('"}', {}),
]
"""Tokens of an answer with their likeliest alternatives."""
LYING = [*WRITTEN[:3], ("dark", {"dark": 2 / 3, "class": 1 / 3}), (" drama", {" drama": 0.5, " comedy": 0.5})]
SAID = {"dark comedy": 0.8 / 0.95 * 0.25, "dark drama": 0.8 / 0.95 * 0.75, "classic": 0.15 / 0.95}
CERTAIN = {"dark comedy": 0.0, "dark drama": 1.0, "classic": 0.0}
ANSWER = '{"response": "dark drama"}'


def logprobs(tokens: list[tuple[str, dict[str, float]]]) -> dict[str, Any]:
    """Return the tokens as OpenAI writes them."""

    def entry(token: str, share: float) -> dict[str, Any]:
        return {"token": token, "logprob": math.log(share), "bytes": list(token.encode())}

    content = [
        {**entry(token, top.get(token, 1.0)), "top_logprobs": [entry(*each) for each in top.items()]}
        for token, top in tokens
    ]
    return {"content": content}


def gives(_: Asked) -> Reply:
    return Reply(ANSWER, logprobs=logprobs(WRITTEN))


def refuses(request: Asked) -> Reply:
    if "logprobs" not in request.body:
        return Reply(ANSWER)
    error = {"message": "logprobs are not supported with this model", "type": "invalid_request_error"}
    return Reply(status=400, body=json.dumps({"error": error}).encode())


def knows_no_such_parameter(request: Asked) -> Reply:
    if "logprobs" not in request.body:
        return Reply(ANSWER)
    detail = [{"type": "extra_forbidden", "loc": ["body", "logprobs"], "msg": "Extra inputs are not permitted"}]
    error = {"object": "error", "message": {"detail": detail}, "type": "invalid_request_error"}
    return Reply(status=422, body=json.dumps(error).encode())


def ignores(_: Asked) -> Reply:
    return Reply(ANSWER)


def lies(_: Asked) -> Reply:
    return Reply(ANSWER, logprobs=logprobs(LYING))


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)


def decide() -> dict[str, float]:
    found = Respond(TASK, AnswerAsUser)(past="(nothing)", query="A film?")
    assert found.lm_probabilities is not None
    assert found.response == "dark drama"
    return found.lm_probabilities


Deciding = Callable[[dspy.LM, int], list[dict[str, float]]]


@pytest.fixture(params=["journalled", "not journalled"])
def decides(request: pytest.FixtureRequest, tmp_path: Path) -> Deciding:
    """Return what an LM says to so many questions; journalled, a replay must say the same."""

    def directly(lm: dspy.LM, times: int) -> list[dict[str, float]]:
        with dspy.context(lm=lm):
            return [decide() for _ in range(times)]

    def journalled(lm: dspy.LM, times: int) -> list[dict[str, float]]:
        with Store.open(tmp_path / "store.db") as store:
            run = new_run("test", run_id="r")
            with open_run(store.journal, run, {AGENT: lm}):
                said = [decide() for _ in range(times)]
            recorded = store.journal.find("r")
            assert recorded is not None
            with open_run(store.journal, recorded, {}, replay=True):
                assert [decide() for _ in range(times)] == said
        return said

    return journalled if request.param == "journalled" else directly


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [message.partition(" ")[2] for message in caplog.messages if "certain" in message]


def test_openais_log_probabilities_tell_answers_apart_that_begin_alike(decides: Deciding, server: Loopback) -> None:
    server.answering = gives
    said = decides(open_lm("openai/made-up", api_base=server.url), 2)
    assert said == [pytest.approx(SAID)] * 2
    assert [body["top_logprobs"] for body in server.received] == [20, 20]


@pytest.mark.parametrize("refusing", [refuses, knows_no_such_parameter])
def test_a_server_that_refuses_is_asked_for_them_once(
    decides: Deciding, refusing: Answering, caplog: pytest.LogCaptureFixture
) -> None:
    with loopback(refusing) as server, caplog.at_level(logging.WARNING):
        said = decides(open_lm("openai/made-up", api_base=server.url), 3)
    assert said == [CERTAIN] * 3
    assert ["logprobs" in body for body in server.received] == [True, False, False, False]
    assert warnings(caplog) == ["gives no log-probabilities: its answers are taken as certain"]


def test_a_server_that_ignores_the_question_is_taken_at_its_word(
    decides: Deciding, caplog: pytest.LogCaptureFixture
) -> None:
    with loopback(ignores) as server, caplog.at_level(logging.WARNING):
        said = decides(open_lm("openai/made-up", api_base=server.url), 2)
    assert said == [CERTAIN] * 2
    assert len(server.received) == 2
    assert warnings(caplog) == ["gives no log-probabilities: its answers are taken as certain"]


def test_a_server_that_says_the_same_of_every_answer_is_not_believed(
    decides: Deciding, caplog: pytest.LogCaptureFixture
) -> None:
    with loopback(lies) as server, caplog.at_level(logging.WARNING):
        said = decides(open_lm("openai/made-up", api_base=server.url), 2)
    assert said == [CERTAIN] * 2
    assert warnings(caplog) == ["gives all answers the same probability: its answers are taken as certain"]


async def test_what_a_server_refused_is_remembered_by_awaited_calls_too(tmp_path: Path) -> None:
    with loopback(refuses) as server, Store.open(tmp_path / "store.db") as store:
        lm = open_lm("openai/made-up", api_base=server.url)
        request = Request(model=lm.model, messages=(Message.user("A film?"),), config=Config(logprobs=20))
        with open_run(store.journal, new_run("test"), {AGENT: lm}) as run:
            journalled: Any = run.lm(AGENT)
            for _ in range(2):
                assert (await journalled.acall(request)).text == ANSWER
    assert ["logprobs" in body for body in server.received] == [True, False, False]
