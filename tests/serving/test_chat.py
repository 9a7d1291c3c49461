"""OpenAI's API."""

import gc
import json
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any

import pytest
from dspy.lm15 import AuthError, RateLimitError

from personaagent.data.errors import StorageError
from personaagent.data.memory.chroma_index import EpisodeIndex
from personaagent.data.store import user_key
from personaagent.data.store.interactions import InteractionLog
from personaagent.lms import open_lm
from personaagent.testing import ScriptedLM

from ..loopback import Answering, Loopback, Reply, loopback
from .conftest import ANSWERS, ASKED, PausedLM, Server, serving

SAID = "Watch a quiet film about the sea, and then another."


def test_an_answer_has_openais_form_and_is_remembered(server: Server) -> None:
    key = server.key_of("maya")
    answered = server.client.post("/v1/chat/completions", json=ASKED, headers=key)
    assert answered.status_code == 200, answered.text
    body = answered.json()
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "Watch a quiet film."}
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"] > 0
    origin = body["personaagent"]
    assert body["id"] == f"chatcmpl-{origin['interaction_id']}"
    [stored] = server.store.user("maya").interactions.all()
    assert (stored.interaction_id, stored.query) == (origin["interaction_id"], "A film for tonight?")
    assert (stored.response, stored.ground_truth) == ("Watch a quiet film.", None)
    assert stored.persona_version == origin["persona_version"] == 1


def test_a_stream_says_the_same_in_pieces(server: Server) -> None:
    asked = {**ASKED, "stream": True, "stream_options": {"include_usage": True}}
    with server.client.stream("POST", "/v1/chat/completions", json=asked, headers=server.key_of("maya")) as answered:
        lines = [line.removeprefix("data: ") for line in answered.iter_lines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    *chunks, usage = [json.loads(line) for line in lines[:-1]]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "Watch a quiet film."
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks][-1] == "stop"
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] > 0


def test_of_a_conversation_the_last_question_is_remembered_and_the_rest_is_context(server: Server) -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "I like the sea."}]},
        {"role": "assistant", "content": "Noted."},
        {"role": "user", "content": "A film?"},
    ]
    server.client.post("/v1/chat/completions", json={**ASKED, "messages": turns}, headers=server.key_of("maya"))
    [stored] = server.store.user("maya").interactions.all()
    assert stored.query == "A film?"
    asked = server.lm.requests[-1]
    assert asked.input("conversation") == "system:\n| Be brief.\nuser:\n| I like the sea.\nassistant:\n| Noted."
    assert asked.input("query") == "A film?"


def test_the_name_of_a_task_asks_for_an_answer_in_its_form() -> None:
    with serving(ScriptedLM({**ANSWERS, "response": "comedy"})) as server:
        asked = {**ASKED, "model": "personaagent/LaMP-2M"}
        answered = server.client.post("/v1/chat/completions", json=asked, headers=server.key_of("maya"))
    assert answered.json()["choices"][0]["message"]["content"] == "comedy"


def test_the_models_are_listed_and_each_is_there(server: Server) -> None:
    key = server.key_of("maya")
    listed = server.client.get("/v1/models", headers=key).json()["data"]
    assert [model["id"] for model in listed][:2] == ["personaagent", "personaagent/LaMP-1"]
    assert [server.client.get(f"/v1/models/{model['id']}", headers=key).json() for model in listed] == listed
    missing = server.client.get("/v1/models/gpt-5", headers=key)
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("change", "status", "detail"),
    [
        ({"model": "gpt-5"}, 404, "no such model"),
        ({"messages": []}, 400, "body.messages"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "one must be the user's"),
        ({"messages": [{"role": "user", "content": " "}]}, 400, "say something"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "in text"),
        ({"messages": [{"role": "user", "content": "a\0b"}]}, 422, "NUL"),
    ],
)
def test_what_cannot_be_answered_is_an_error_in_openais_form(
    server: Server, change: dict[str, object], status: int, detail: str
) -> None:
    answered = server.client.post("/v1/chat/completions", json={**ASKED, **change}, headers=server.key_of("maya"))
    assert answered.status_code == status, answered.text
    error = answered.json()["error"]
    assert detail in error["message"]
    assert (error["type"], error["id"]) == ("invalid_request_error", answered.headers["x-request-id"])
    assert len(server.store.user("maya").interactions) == 0


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_an_lm_that_fails_is_told_without_its_words(stream: bool) -> None:
    with serving(ScriptedLM(lambda _request: RateLimitError("the secret reason"))) as server:
        asked = {**ASKED, "stream": stream}
        answered = server.client.post("/v1/chat/completions", json=asked, headers=server.key_of("maya"))
        assert len(server.store.user("maya").interactions) == 0
    assert "could not be reached, or refused" in answered.text
    assert "secret reason" not in answered.text
    assert answered.status_code == (200 if stream else 502)


def test_what_the_lm_says_of_an_answer_that_nobody_waits_for_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    paused = PausedLM(AuthError("the secret reason"))
    with serving(paused.lm) as server:
        asked = {**ASKED, "stream": True}
        with server.client.stream("POST", "/v1/chat/completions", json=asked, headers=server.key_of("maya")):
            assert paused.is_asked.wait(60)
        paused.may_answer.set()
    gc.collect()  # With it asyncio logs an exception that nobody took.
    assert "secret reason" not in caplog.text


def test_without_its_index_it_answers_from_the_persona_alone_and_says_so(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise StorageError("http://chroma: cannot be reached")

    key = server.key_of("maya")
    assert (
        server.client.post("/v1/chat/completions", json=ASKED, headers=key).json()["personaagent"]["without_memory"]
        is False
    )
    with monkeypatch.context() as down:
        down.setattr(EpisodeIndex, "search", unreachable)
        answered = server.client.post("/v1/chat/completions", json=ASKED, headers=key)
    assert answered.status_code == 200
    assert answered.json()["personaagent"]["without_memory"] is True
    again = server.client.post("/v1/chat/completions", json=ASKED, headers=key)
    assert again.json()["personaagent"]["without_memory"] is False


def test_without_its_store_it_answers_503_until_the_store_is_back(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StorageError("/secret/place/store.db: the disk is full")

    key = server.key_of("maya")
    with monkeypatch.context() as down:
        down.setattr(InteractionLog, "record", full)
        answered = server.client.post("/v1/chat/completions", json=ASKED, headers=key)
    assert answered.status_code == 503
    assert "secret" not in answered.text
    assert server.store.user("maya").interactions.all() == ()
    assert server.client.post("/v1/chat/completions", json=ASKED, headers=key).status_code == 200


def test_an_erasure_waits_for_the_answer_under_way_and_leaves_nothing_of_it() -> None:
    paused = PausedLM()
    with serving(paused.lm) as server, ThreadPoolExecutor() as clients:
        key = server.key_of("maya")
        answered = clients.submit(server.client.post, "/v1/chat/completions", json=ASKED, headers=key)
        assert paused.is_asked.wait(60)
        erased = clients.submit(server.client.delete, "/v1/me", headers=key)
        with pytest.raises(TimeoutError):
            erased.result(0.3)
        assert server.client.post("/v1/chat/completions", json=ASKED, headers=key).status_code == 404
        paused.may_answer.set()
        assert answered.result().status_code == 200
        assert erased.result().json()["removed"]["interactions"] == 1
        assert server.store.journal.ledger(user_key=user_key("maya")) == ()


@contextmanager
def asking(answering: Answering) -> Generator[tuple[Server, Loopback]]:
    with loopback(answering) as up, serving(open_lm("openai/made-up", api_base=up.url)) as server:
        yield server, up


def chunks(server: Server, **more: Any) -> Generator[dict[str, Any]]:
    body = {**ASKED, "stream": True, **more}
    with server.client.stream("POST", "/v1/chat/completions", json=body, headers=server.key_of("maya")) as answered:
        for line in answered.iter_lines():
            if line.startswith("data: {"):
                yield json.loads(line.removeprefix("data: "))


def text(chunk: dict[str, Any]) -> str:
    return "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])


def test_the_first_words_come_while_the_lm_still_writes() -> None:
    goes_on = Event()
    reply = Reply(json.dumps({"response": SAID}), goes_on=goes_on)
    with asking(lambda _: reply) as (server, up):
        heard, chunk = "", dict[str, Any]()
        for chunk in chunks(server):
            heard += text(chunk)
            if len(heard) > 5 and not goes_on.is_set():
                assert SAID.startswith(heard) and heard != SAID
                assert len(server.store.user("maya").interactions) == 0, "it is stored when it is whole"
                goes_on.set()
        [stored] = server.store.user("maya").interactions.all()
        assert heard == stored.response == SAID
        assert chunk["personaagent"]["interaction_id"] == stored.interaction_id
        assert len(up.asked) == 1


def test_a_server_that_does_not_stream_is_asked_without_and_remembered() -> None:
    reply = Reply(json.dumps({"response": SAID}), streams=False)
    with asking(lambda _: reply) as (server, up):
        assert "".join(map(text, chunks(server))) == SAID
        first = [body.get("stream") for body in up.received]
        assert (first[0], first[-1]) == (True, None)
        assert "".join(map(text, chunks(server))) == SAID
    assert [body.get("stream") for body in up.received[len(first) :]] == [None]


def test_an_answer_that_is_cut_and_written_anew_goes_on_where_it_was() -> None:
    replies = iter([Reply(json.dumps({"response": SAID})[:30], finish="length"), Reply(json.dumps({"response": SAID}))])
    with asking(lambda _: next(replies)) as (server, _):
        assert "".join(map(text, chunks(server))) == SAID


def test_a_decision_is_told_when_it_is_weighed() -> None:
    with asking(lambda _: Reply(json.dumps({"response": "comedy"}))) as (server, up):
        assert "".join(map(text, chunks(server, model="personaagent/LaMP-2M"))) == "comedy"
    assert all("stream" not in body for body in up.received)
