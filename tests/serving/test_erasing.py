"""Erasing over HTTP: whoever may, as often as wanted, with services away; and what comes too late finds nobody."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from personaagent.data.store import user_key
from personaagent.serving import deployment as deploying

from ..people.made_up import live_through
from .conftest import ASKED, PausedLM, Server, serving, serving_home
from .waiting import wait_until

AWAY = "http://127.0.0.1:9"


def of_tenant(server: Server, user: str) -> dict[str, str]:
    _, token = server.store.keys.create("tenant", tenant="acme")
    return {"Authorization": f"Bearer {token}", "X-PersonaAgent-User": user}


def test_a_tenant_and_an_admin_erase_as_often_as_they_want(server: Server) -> None:
    _, admin = server.store.keys.create("admin")
    for key in (of_tenant(server, "maya"), {"Authorization": f"Bearer {admin}", "X-PersonaAgent-User": "omar"}):
        assert server.client.post("/v1/interactions", json={"query": "q"}, headers=key).status_code == 201
        receipts = [server.client.delete("/v1/me", headers=key) for _ in range(2)]
        assert [response.status_code for response in receipts] == [200, 200]
        assert [response.json()["removed"]["interactions"] for response in receipts] == [1, 0]
        assert server.client.get("/v1/me", headers=key).status_code == 404


def test_a_user_who_was_erased_can_come_back_and_keeps_what_is_new(server: Server) -> None:
    key = of_tenant(server, "maya")
    for number in range(2):
        server.client.post("/v1/interactions", json={"query": f"q{number}", "id": "1"}, headers=key)
        assert server.client.get("/v1/interactions/1", headers=key).json()["query"] == f"q{number}"
        assert server.client.post("/v1/chat/completions", json=ASKED, headers=key).status_code == 200
        if number == 0:
            server.client.delete("/v1/me", headers=key)
    assert len(server.client.get("/v1/memory", headers=key).json()["interactions"]) == 2


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/interactions", {"query": "q"}),
        ("POST", "/v1/chat/completions", ASKED),
        ("POST", "/v1/said", {"text": "I am vegetarian"}),
        ("POST", "/v1/alignments", {}),
        ("GET", "/v1/me", None),
    ],
)
def test_who_is_being_erased_is_not_there_for_anybody(
    server: Server, method: str, path: str, body: dict[str, object] | None
) -> None:
    own, tenants = server.key_of("maya", tenant="acme"), of_tenant(server, "maya")
    server.store.people.tombstones.add(server.store.users()[0].key)
    for key in (own, tenants):
        assert server.client.request(method, path, json=body, headers=key).status_code == 404
    assert server.client.delete("/v1/me", headers=tenants).status_code == 200
    assert server.client.request(method, path, json=body, headers=own).status_code == 401


def test_what_was_under_way_when_its_user_was_erased_is_refused_and_stores_nothing() -> None:
    paused = PausedLM()
    with serving(paused.lm) as server, ThreadPoolExecutor() as clients:
        key = server.key_of("maya")
        answered = clients.submit(server.client.post, "/v1/chat/completions", json=ASKED, headers=key)
        assert paused.is_asked.wait(60)
        server.store.people.erase("maya")  # As another process does.
        paused.may_answer.set()
        assert answered.result().status_code == 404
        assert server.store.users() == ()
        assert server.store.journal.ledger(user_key=user_key("maya")) == ()


def test_an_lm_that_does_not_answer_holds_no_erasure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploying, "_GRACE_SECONDS", 0.1)
    paused = PausedLM()
    with serving(paused.lm) as server, ThreadPoolExecutor() as clients:
        key = server.key_of("maya")
        answered = clients.submit(server.client.post, "/v1/chat/completions", json=ASKED, headers=key)
        assert paused.is_asked.wait(60)
        assert server.client.delete("/v1/me", headers=key).status_code == 200
        paused.may_answer.set()
        assert answered.result().status_code == 404
        assert server.store.users() == ()


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that soon goes on with what could not be erased."""
    monkeypatch.setattr(deploying, "FIRST_RETRY_SECONDS", 0.1)


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_with_mlflow_away_an_erasure_answers_and_the_server_finishes_it_when_mlflow_is_back(tmp_path: Path) -> None:
    with serving_home(tmp_path) as usual:
        live_through(usual.home, "maya", "canary")
        mlflow = usual.home.settings
    with serving_home(tmp_path, AWAY) as up:
        key = up.key_of("maya")
        erased = up.client.delete("/v1/me", headers=key)
        assert erased.json()["left"] == ["prompt versions, runs and artifacts in MLflow"]
        tombstones = up.home.store.people.tombstones
        assert [stone.parts for stone in tombstones.all()] == [("tracking",)]
        assert up.client.get("/v1/me", headers=key).status_code == 401
        assert "canary" in words_of(tmp_path)
        up.home.settings = mlflow
        wait_until(lambda: not tombstones.all())
    assert "canary" not in words_of(tmp_path)


def test_a_service_that_does_not_answer_at_all_holds_no_answer_to_an_erasure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_asked, may_answer = Event(), Event()

    def hang(*_: object) -> None:
        is_asked.set()
        may_answer.wait(60)

    monkeypatch.setattr(deploying, "_ERASURE_SECONDS", 0.5)
    monkeypatch.setattr("personaagent.home.Home.erase_mirrored", hang)
    monkeypatch.setattr(deploying, "finish_erasures", lambda _home: ())
    with serving_home(tmp_path) as up:
        key = up.key_of("maya")
        assert up.client.post("/v1/interactions", json={"query": "q"}, headers=key).status_code == 201
        erased = up.client.delete("/v1/me", headers=key)
        assert erased.json()["left"] == ["what a service that is slow to answer has"]
        assert is_asked.wait(60)
        assert up.home.store.users() == ()
        assert up.client.get("/healthz").status_code == 200
        may_answer.set()


def words_of(folder: Path) -> str:
    return "".join(file.read_bytes().decode("latin-1") for file in folder.rglob("*") if file.is_file())
