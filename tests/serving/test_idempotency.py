"""What is sent again under one `Idempotency-Key` is done once: streams too, across workers, and after a kill."""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
from dspy.lm15 import AuthError

from personaagent.data.errors import StorageError
from personaagent.data.memory.chroma_index import EpisodeIndex
from personaagent.data.store import IdempotencyLog, Store, user_key
from personaagent.journal import AGENT, new_run, open_run
from personaagent.serving import idempotency
from personaagent.serving.app import create_app
from personaagent.serving.deployment import Deployment
from personaagent.testing import HashEmbedder, ScriptedLM

from ..postgres import PostgresServer
from .conftest import ASKED, QUICK, PausedLM, Server, eraser, listening, serving

STREAMED = {**ASKED, "stream": True}


def chat(client: httpx.Client, key: dict[str, str], body: dict[str, Any]) -> httpx.Response:
    return client.post("/v1/chat/completions", json=body, headers={**key, "Idempotency-Key": "one"})


def origin(answered: httpx.Response) -> set[str]:
    """Return the ids of interactions that an answer names."""
    assert answered.status_code == 200, answered.text
    return {part.partition('"')[0] for part in answered.text.replace(": ", ":").split('"interaction_id":"')[1:]}


@contextmanager
def killed_before_it_was_kept() -> Generator[None]:
    """Let what is answered not be kept, as if the process were killed when it had stored everything else."""

    def kill(*_: object) -> None:
        raise StorageError("made-up kill")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IdempotencyLog, "finish", kill)
        yield


@pytest.mark.parametrize("body", [ASKED, STREAMED])
def test_an_answer_that_is_sent_for_again_is_made_and_stored_once(server: Server, body: dict[str, Any]) -> None:
    key = server.key_of("maya")
    first, again = (chat(server.client, key, body) for _ in range(2))
    assert origin(first) == origin(again)
    assert ("idempotent-replay" in first.headers, again.headers["idempotent-replay"]) == (False, "true")
    assert (len(server.lm.requests), len(server.store.user("maya").interactions)) == (1, 1)


@pytest.mark.parametrize("body", [ASKED, STREAMED])
def test_an_answer_that_is_sent_for_again_while_it_is_made_is_made_once(body: dict[str, Any]) -> None:
    paused = PausedLM()
    with serving(paused.lm) as server, ThreadPoolExecutor() as clients:
        key = server.key_of("maya")
        asked = [clients.submit(chat, server.client, key, body) for _ in range(4)]
        assert paused.is_asked.wait(60)
        paused.may_answer.set()
        assert len({frozenset(origin(request.result())) for request in asked}) == 1
        assert (len(server.lm.requests), len(server.store.user("maya").interactions)) == (1, 1)


def test_a_stream_whose_client_left_is_sent_again_from_what_was_stored() -> None:
    paused = PausedLM()
    with serving(paused.lm) as server:
        key = {**server.key_of("maya"), "Idempotency-Key": "one"}
        with server.client.stream("POST", "/v1/chat/completions", json=STREAMED, headers=key) as left:
            assert left.status_code == 200
            assert paused.is_asked.wait(60)
        paused.may_answer.set()
        again = chat(server.client, key, STREAMED)
        assert "Watch a quiet film." in again.text
        assert (len(server.lm.requests), len(server.store.user("maya").interactions)) == (1, 1)


def test_a_stream_that_failed_is_made_when_it_is_sent_again() -> None:
    answers = iter([AuthError("made up"), {"response": "Watch a quiet film."}])
    with serving(ScriptedLM(lambda _: next(answers))) as server:
        key = server.key_of("maya")
        assert "could not be reached" in chat(server.client, key, STREAMED).text
        assert "Watch a quiet film." in chat(server.client, key, STREAMED).text
        assert len(server.store.user("maya").interactions) == 1


@pytest.mark.parametrize("body", [ASKED, STREAMED])
def test_an_answer_that_was_stored_when_its_process_was_killed_is_not_made_again(
    server: Server, body: dict[str, Any]
) -> None:
    key = server.key_of("maya")
    with killed_before_it_was_kept():
        chat(server.client, key, body)
    answered = chat(server.client, key, body)
    [stored] = server.store.user("maya").interactions.all()
    assert origin(answered) == {stored.interaction_id}
    assert len(server.lm.requests) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/interactions", {"query": "q", "ground_truth": "noir"}),
        ("/v1/feedback", {"interaction_id": "1", "correction": "noir", "text": "too long"}),
        ("/v1/said", {"text": "I am vegetarian"}),
        ("/v1/alignments", {"n": 1}),
        ("/v1/persona/rollback", {"version": 1}),
    ],
)
def test_any_write_that_was_stored_when_its_process_was_killed_is_not_done_again(
    server: Server, path: str, body: dict[str, Any]
) -> None:
    key = {**server.key_of("maya"), "Idempotency-Key": "one"}
    without = {name: value for name, value in key.items() if name != "Idempotency-Key"}
    server.client.post("/v1/interactions", json={"query": "a film", "id": "1", "ground_truth": "x"}, headers=without)
    for _ in range(2):
        server.client.post("/v1/said", json={"text": f"I like noir {_}", "also": True}, headers=without)

    def stored() -> tuple[object, ...]:
        user = server.store.user("maya")
        seen = {interaction.interaction_id for interaction in user.interactions.all()}
        return seen, len(user.personas.promotions()), len(user.jobs.all())

    before = stored()
    with killed_before_it_was_kept():
        assert server.client.post(path, json=body, headers=key).status_code == 503
    after = stored()
    answered = server.client.post(path, json=body, headers=key)
    assert answered.is_success, answered.text
    assert answered.headers["idempotent-replay"] == "true"
    assert before != after == stored()


def test_several_interactions_that_were_stored_and_then_corrected_are_not_stored_again(server: Server) -> None:
    key = {**server.key_of("maya"), "Idempotency-Key": "several"}
    batch = {"interactions": [{"query": "q", "ground_truth": "noir", "id": "1"}]}
    with killed_before_it_was_kept():
        assert server.client.post("/v1/interactions/batch", json=batch, headers=key).status_code == 503
    correction = {"interaction_id": "1", "correction": "comedy"}
    server.client.post("/v1/feedback", json=correction, headers={**key, "Idempotency-Key": "another"})
    answered = server.client.post("/v1/interactions/batch", json=batch, headers=key)
    assert (answered.status_code, answered.json()) == (201, {"stored": 0})
    assert server.store.user("maya").interactions.get("1").ground_truth == "comedy"


def test_what_a_dead_worker_had_begun_is_done_under_the_same_id(server: Server) -> None:
    key_, token = server.store.keys.create("user", user_id="maya")
    key = {"Authorization": f"Bearer {token}", "Idempotency-Key": "one"}
    hashes: list[str] = []
    log = server.store.idempotency
    with pytest.MonkeyPatch.context() as patch:
        claim = log.claim

        def seen(key_id: str, token: str, request_hash: str, **how: str) -> object:
            hashes.append(request_hash)
            return claim(key_id, token, request_hash, **how)

        patch.setattr(log, "claim", seen)
        server.client.post("/v1/interactions", json={"query": "q"}, headers={**key, "Idempotency-Key": "another"})
    begun, _ = log.claim(key_.key_id, "one", hashes[0], worker="dead", user_key=user_key("maya"))
    assert server.client.post("/v1/interactions", json={"query": "q"}, headers=key).json()["interaction_id"] == (
        begun.write_id
    )


def test_what_came_of_a_request_and_was_forgotten_is_not_brought_back_by_it(server: Server) -> None:
    key = server.key_of("maya")
    [name] = origin(chat(server.client, key, ASKED))
    assert server.client.delete(f"/v1/memory/{name}", headers=key).status_code == 204
    assert chat(server.client, key, ASKED).status_code == 410
    assert len(server.store.user("maya").interactions) == 0


@contextmanager
def worker(url: str, lm: ScriptedLM) -> Generator[tuple[httpx.Client, Store]]:
    """Serve a database that another process serves too."""

    @contextmanager
    def deploy() -> Generator[Deployment]:
        deployment = Deployment(store, run, QUICK.model_copy(update={"alone": False}), erase=eraser(store))
        with deployment.workers.registered(run.run_id):
            yield deployment

    with (
        EpisodeIndex(None, HashEmbedder()) as index,
        Store.open(url, index=index) as store,
        open_run(store.journal.of_stored(), new_run("serve"), {AGENT: lm}) as run,
        listening(create_app(deploy)) as base,
        httpx.Client(base_url=base, timeout=30) as client,
    ):
        yield client, store


@pytest.fixture
def two(postgres: PostgresServer) -> Iterator[tuple[list[httpx.Client], Store, PausedLM]]:
    paused, url = PausedLM(), postgres.new_url()
    with ExitStack() as up:
        (one, store), (other, _) = (up.enter_context(worker(url, paused.lm)) for _ in range(2))
        yield [one, other], store, paused


@pytest.mark.parametrize("body", [ASKED, STREAMED])
def test_two_workers_that_get_the_same_request_answer_it_once(
    two: tuple[list[httpx.Client], Store, PausedLM], body: dict[str, Any]
) -> None:
    workers, store, paused = two
    _, token = store.keys.create("user", user_id="maya")
    key = {"Authorization": f"Bearer {token}"}
    with ThreadPoolExecutor() as clients:
        asked = [clients.submit(chat, client, key, body) for client in workers * 2]
        assert paused.is_asked.wait(60)
        paused.may_answer.set()
        assert len({frozenset(origin(request.result())) for request in asked}) == 1
    assert (len(paused.lm.requests), len(store.user("maya").interactions)) == (1, 1)


def test_a_request_that_another_worker_takes_long_for_is_a_conflict_that_says_when_to_come_back(
    two: tuple[list[httpx.Client], Store, PausedLM], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "_LONGEST_WAIT_SECONDS", 0.2)
    workers, store, paused = two
    _, token = store.keys.create("user", user_id="maya")
    key = {"Authorization": f"Bearer {token}"}
    with ThreadPoolExecutor() as clients:
        asked = clients.submit(chat, workers[0], key, ASKED)
        assert paused.is_asked.wait(60)
        meanwhile = chat(workers[1], key, ASKED)
        paused.may_answer.set()
        assert (meanwhile.status_code, meanwhile.headers["retry-after"]) == (409, "1")
        assert origin(asked.result()) == origin(chat(workers[1], key, ASKED))
