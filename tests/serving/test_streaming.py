"""Streams over real HTTP, from the LM's server to the client: the first word comes when the LM's first word comes."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from threading import Event
from typing import Any

from personaagent.lms import open_lm

from ..loopback import Answering, Loopback, Reply, loopback
from .conftest import Server, serving

ASKED = {"model": "personaagent", "messages": [{"role": "user", "content": "A film?"}], "stream": True}
SAID = "Watch a quiet film about the sea, and then another."


@contextmanager
def asking(answering: Answering) -> Generator[tuple[Server, Loopback]]:
    with loopback(answering) as up, serving(open_lm("openai/made-up", api_base=up.url)) as server:
        yield server, up


def chunks(server: Server, **more: Any) -> Generator[dict[str, Any]]:
    body = {**ASKED, **more}
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
