"""Answers that nobody will get: of an LM that drips without end, of a client that is gone, of a server that stops."""

import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from threading import Event, Thread

import httpx
import pytest

from personaagent.lms import open_lm
from personaagent.programs import module
from personaagent.serving import answering, deployment
from personaagent.serving.configuration import Serving

from ..loopback import Asked, Loopback, Reply, loopback
from .conftest import ASKED, CHAT, QUICK, PausedLM, Server, serving
from .waiting import wait_until

DRIPPING = Reply('{"response": "noir"}', drips_after=200)


@contextmanager
def dripping(how: Serving = QUICK) -> Generator[tuple[Server, Loopback, Event]]:
    """Serve with an LM that sends a byte now and then, and yield also what says that it was asked."""
    is_asked = Event()

    def drip(_: Asked) -> Reply:
        is_asked.set()
        return DRIPPING

    with loopback(drip) as up, serving(open_lm("openai/made-up", api_base=up.url, timeout=60), how) as server:
        yield server, up, is_asked


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_cut_off_when_it_has_taken_too_long(stream: bool) -> None:
    with dripping(QUICK.model_copy(update={"answer_seconds": 1.0})) as (server, up, is_asked):
        late = server.client.post(CHAT, json={**ASKED, "stream": stream}, headers=server.key_of("maya"))
        assert "did not answer in time" in late.text
        assert stream or late.status_code == 504
        assert not is_asked.is_set() or up.hung_up.wait(10)
        assert len(server.store.user("maya").interactions) == 0


def test_an_erasure_cuts_off_what_is_said_of_its_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment, "_GRACE_SECONDS", 0.1)
    with dripping() as (server, up, is_asked):
        key = server.key_of("maya")
        asking = Thread(target=_ask, args=(server, key))
        asking.start()
        assert is_asked.wait(10)
        assert server.client.delete("/v1/me", headers=key).status_code == 200
        asking.join(10)
        assert up.hung_up.wait(10)
        assert server.store.journal.ledger(user_key="maya") == ()


def test_a_server_that_stops_cuts_off_answers_and_alignments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GOODBYE_SECONDS", 0.1)
    with dripping() as (server, _, is_asked):
        key = server.key_of("maya")
        told = {"query": "A film?", "ground_truth": "noir"}
        assert server.client.post("/v1/interactions", json=told, headers=key).status_code == 201
        assert server.client.post("/v1/alignments", json={}, headers=key).status_code == 202
        assert is_asked.wait(10)
        is_asked.clear()
        asking = Thread(target=_ask, args=(server, key))
        asking.start()
        assert is_asked.wait(10)
        began = time.monotonic()
    assert time.monotonic() - began < 10, "both would drip for a minute"


def _ask(server: Server, key: dict[str, str]) -> None:
    with suppress(httpx.HTTPError):
        server.client.post(CHAT, json=ASKED, headers=key)


def test_a_client_that_hangs_up_while_its_question_waits_has_it_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "_AT_ONCE_OF_KEY", {"user": 1})
    paused = PausedLM()
    with serving(paused.lm) as server:
        key = server.key_of("maya")
        first = Thread(target=_ask, args=(server, key))
        first.start()
        assert paused.is_asked.wait(60)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.client.base_url}{CHAT}", json=ASKED, headers=key, timeout=0.3)
        wait_until(lambda: "personaagent_requests_under_way 2.0" in server.client.get("/metrics").text)
        paused.may_answer.set()
        first.join(60)
        assert server.client.post(CHAT, json=ASKED, headers=key).status_code == 200
        assert len(server.lm.requests) == 2, "the first and the last"
