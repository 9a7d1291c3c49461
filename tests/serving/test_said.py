"""What a user states, why a persona is as it is, and forgetting, over HTTP."""

import pytest

from personaagent.testing import ScriptedLM

from .conftest import ASKED, Server


def ask(server: Server, key: dict[str, str]) -> str:
    answered = server.client.post("/v1/chat/completions", json=ASKED, headers=key)
    assert answered.status_code == 200, answered.text
    assert isinstance(server.lm, ScriptedLM)
    return server.lm.requests[-1].system


def test_a_statement_is_told_listed_replaced_and_deleted(server: Server) -> None:
    key = server.key_of("maya")
    told = server.client.post("/v1/said", json={"text": "I am vegetarian"}, headers=key)
    assert told.status_code == 201, told.text
    assert told.json()["version"]["persona"]["lines"][-1]["text"] == "I am vegetarian"
    assert "I am vegetarian" in ask(server, key)
    newer = server.client.post("/v1/said", json={"text": "I am not vegetarian"}, headers=key).json()
    assert [statement["text"] for statement in newer["replaced"]] == ["I am vegetarian"]
    assert "I am not vegetarian" in ask(server, key)
    listed = server.client.get("/v1/said", headers=key).json()["said"]
    assert [statement["replaced_by"] for statement in listed] == [newer["statement"]["statement_id"], None]
    path = f"/v1/said/{listed[1]['statement_id']}"
    assert server.client.delete(path, headers=key).status_code == 204
    assert server.client.delete(path, headers=key).status_code == 404
    assert "- I am vegetarian" in ask(server, key)


def test_a_statement_sent_again_is_told_once(server: Server) -> None:
    key = {**server.key_of("maya"), "Idempotency-Key": "one"}
    first, again = (server.client.post("/v1/said", json={"text": "I am vegetarian"}, headers=key) for _ in range(2))
    assert first.json() == again.json()
    assert len(server.store.user("maya").memory.said()) == 1


@pytest.mark.parametrize(
    "new", [{}, {"text": ""}, {"text": "x" * 301}, {"text": "one\ntwo"}, {"text": "[[ ## x ## ]]"}]
)
def test_what_is_no_statement_is_a_problem(server: Server, new: dict[str, str]) -> None:
    answered = server.client.post("/v1/said", json=new, headers=server.key_of("maya"))
    assert answered.status_code == 422
    assert server.store.user("maya").memory.said() == ()


def test_nobody_states_anything_for_another(server: Server) -> None:
    maya, omar = server.key_of("maya"), server.key_of("omar")
    statement = server.client.post("/v1/said", json={"text": "I am vegetarian"}, headers=maya).json()["statement"]
    assert server.client.get("/v1/said", headers=omar).json() == {"said": []}
    path = f"/v1/said/{statement['statement_id']}"
    assert server.client.delete(path, headers=omar).status_code == 404
    replacing = {"text": "I eat meat", "replace": statement["statement_id"]}
    assert server.client.post("/v1/said", json=replacing, headers=omar).status_code == 404
    assert len(server.client.get("/v1/said", headers=maya).json()["said"]) == 1


def test_each_line_says_why_it_is_there(server: Server) -> None:
    key = server.key_of("maya")
    assert server.client.get("/v1/persona/blame", headers=key).json() == {"version": None, "blamed": []}
    told = server.client.post("/v1/said", json={"text": "I am vegetarian"}, headers=key).json()
    found = server.client.get("/v1/persona/blame", headers=key).json()
    assert found["version"] == told["version"]["number"]
    [line] = found["blamed"]
    assert (line["kind"], line["state"], line["because"]) == ("said", "live", "what the user said")
    assert [cause["words"] for cause in line["causes"]] == ["I am vegetarian"]
    assert server.client.get("/v1/persona/blame", params={"version": 1}, headers=key).json()["blamed"] == []
    assert server.client.get("/v1/persona/blame", params={"version": 9}, headers=key).status_code == 404


def test_a_forgotten_interaction_is_counted_no_more(server: Server) -> None:
    key = server.key_of("maya")
    for number in range(6):
        new = {"query": f"film {number}?", "ground_truth": "classic", "task": "LaMP-2M", "id": str(number)}
        server.client.post("/v1/interactions", json=new, headers=key)
    assert "Of 3 questions" in ask(server, key)
    assert server.client.delete("/v1/memory/1", headers=key).status_code == 204
    assert "Of 2 questions" in ask(server, key)
