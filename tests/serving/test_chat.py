"""OpenAI's API."""

import gc
import json
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from dspy.lm15 import AuthError, RateLimitError

from personaagent.data.errors import StorageError
from personaagent.data.memory.chroma_index import EpisodeIndex
from personaagent.data.store import user_key
from personaagent.data.store.interactions import InteractionLog
from personaagent.testing import ScriptedLM, ScriptedRequest

from .conftest import ANSWERS, Server, serving

ASKED = {"model": "personaagent", "messages": [{"role": "user", "content": "A film for tonight?"}]}


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
    is_asked, may_fail = Event(), Event()

    def fails(_: ScriptedRequest) -> Exception:
        is_asked.set()
        assert may_fail.wait(10)
        return AuthError("the secret reason")

    with serving(ScriptedLM(fails)) as server:
        asked = {**ASKED, "stream": True}
        with server.client.stream("POST", "/v1/chat/completions", json=asked, headers=server.key_of("maya")):
            assert is_asked.wait(10)
        may_fail.set()
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
    is_asked, may_answer = Event(), Event()

    def answer(_: ScriptedRequest) -> str:
        is_asked.set()
        assert may_answer.wait(10)
        return "Watch a quiet film."

    with serving(ScriptedLM({**ANSWERS, "response": answer})) as server, ThreadPoolExecutor() as clients:
        key = server.key_of("maya")
        answered = clients.submit(server.client.post, "/v1/chat/completions", json=ASKED, headers=key)
        assert is_asked.wait(10)
        erased = clients.submit(server.client.delete, "/v1/me", headers=key)
        with pytest.raises(TimeoutError):
            erased.result(0.3)
        assert server.client.post("/v1/chat/completions", json=ASKED, headers=key).status_code == 404
        may_answer.set()
        assert answered.result().status_code == 200
        assert erased.result().json()["removed"]["interactions"] == 1
        assert server.store.journal.ledger(user_key=user_key("maya")) == ()
