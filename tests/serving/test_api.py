"""The native API: who reaches what, and what comes of each call."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from personaagent.data.alignment import Job
from personaagent.data.api_key import KeyLimits
from personaagent.data.interaction import Interaction
from personaagent.data.persona import Persona, PersonaLine
from personaagent.portable import import_user
from personaagent.testing import ScriptedLM

from .conftest import ANSWERS, ASKED, QUICK, Server, serving
from .waiting import wait_until

READS = ("/v1/me", "/v1/memory", "/v1/persona", "/v1/persona/versions", "/v1/alignments", "/v1/models")


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("header", [None, "Bearer x", "Bearer pa_0123456789ab_" + "A" * 43, "Basic x"])
def test_without_a_key_nothing_is_told(server: Server, path: str, header: str | None) -> None:
    answered = server.client.get(path, headers={"Authorization": header} if header else {})
    assert answered.status_code == 401
    assert answered.headers["www-authenticate"] == "Bearer"
    said = answered.json()
    assert said["error"]["code"] == "invalid_api_key" if path == "/v1/models" else said["title"] == "Unauthorized"


def test_a_revoked_key_opens_nothing(server: Server) -> None:
    key = server.key_of("maya")
    assert server.client.get("/v1/me", headers=key).status_code == 200
    server.store.keys.revoke(key["Authorization"].removeprefix("Bearer pa_")[:12])
    assert server.client.get("/v1/me", headers=key).status_code == 401


def test_a_users_key_reaches_that_user_only_whatever_the_request_says(server: Server) -> None:
    maya, omar = server.key_of("maya"), server.key_of("omar")
    server.client.post("/v1/interactions", json={"query": "mine", "id": "1"}, headers=maya)
    named = {**omar, "X-PersonaAgent-User": "maya"}
    assert server.client.get("/v1/memory", headers=named).json()["interactions"] == []
    assert server.client.get("/v1/interactions/1", headers=named).status_code == 404
    assert server.client.delete("/v1/memory/1", headers=named).status_code == 404
    assert server.client.get("/v1/interactions/1", headers=maya).json()["query"] == "mine"


def test_a_tenants_key_reaches_the_tenants_users_only(server: Server) -> None:
    _, token = server.store.keys.create("tenant", tenant="acme")
    acme = {"Authorization": f"Bearer {token}"}
    assert server.client.get("/v1/me", headers=acme).status_code == 403
    named = {**acme, "X-PersonaAgent-User": "m%C3%A4ya"}
    assert server.client.get("/v1/me", headers=named).status_code == 404
    assert server.client.post("/v1/interactions", json={"query": "q", "id": "1"}, headers=named).status_code == 201
    own = server.key_of("mäya", tenant="acme")
    assert server.client.get("/v1/interactions/1", headers=own).json()["query"] == "q"
    assert server.client.get("/v1/interactions/1", headers=server.key_of("mäya")).status_code == 404
    assert server.client.get("/v1/interactions/1", headers=server.key_of("mäya", tenant="other")).status_code == 404


def test_an_interaction_is_stored_once_however_often_it_is_sent(server: Server) -> None:
    key, new = server.key_of("maya"), {"query": "A tag?", "ground_truth": "comedy", "task": "LaMP-2M", "id": "7"}
    first, again = (server.client.post("/v1/interactions", json=new, headers=key) for _ in range(2))
    assert first.status_code == again.status_code == 201, again.text
    assert first.json() == again.json()
    other = server.client.post("/v1/interactions", json={**new, "query": "Another?"}, headers=key)
    assert (other.status_code, len(server.store.user("maya").interactions)) == (422, 1)
    assert "give it a new id" in other.json()["detail"]


def test_an_idempotency_key_does_a_write_once(server: Server) -> None:
    key = {**server.key_of("maya"), "Idempotency-Key": "one"}
    first, again = (server.client.post("/v1/interactions", json={"query": "q"}, headers=key) for _ in range(2))
    assert first.json() == again.json()
    assert (again.status_code, again.headers["idempotent-replay"]) == (201, "true")
    assert len(server.store.user("maya").interactions) == 1
    changed = server.client.post("/v1/interactions", json={"query": "r"}, headers=key)
    assert (changed.status_code, len(server.store.user("maya").interactions)) == (422, 1)
    other = {**server.key_of("omar"), "Idempotency-Key": "one"}
    assert server.client.post("/v1/interactions", json={"query": "r"}, headers=other).status_code == 201


@pytest.mark.parametrize(
    ("new", "detail"),
    [
        ({}, "body.query"),
        ({"query": ""}, "body.query"),
        ({"query": "q", "task": "LaMP-9"}, "task: use one of"),
        ({"query": "q", "task": "LaMP-2M", "ground_truth": "horror"}, "ground_truth: must be one of"),
        ({"query": "q", "at": "2024-01-01T00:00:00"}, "body.at"),
        ({"query": "q", "surprise": 1}, "body.surprise"),
        ({"query": "q" * 100_001}, "body.query"),
    ],
)
def test_an_interaction_that_cannot_be_one_is_a_problem(server: Server, new: dict[str, Any], detail: str) -> None:
    answered = server.client.post("/v1/interactions", json=new, headers=server.key_of("maya"))
    assert (answered.status_code, len(server.store.user("maya").interactions)) == (422, 0)
    assert detail in answered.json()["detail"]


def test_a_body_that_is_too_large_is_refused(server: Server) -> None:
    def too_much() -> Any:
        yield from [b"x" * 100_000] * 11

    key = server.key_of("maya")
    for content in (b"x" * 1_100_000, too_much()):
        assert server.client.post("/v1/interactions", content=content, headers=key).status_code == 413


def test_who_has_stored_as_much_as_may_be_can_store_again_after_forgetting() -> None:
    with serving(ScriptedLM(ANSWERS), QUICK.model_copy(update={"user_bytes": 2_000})) as server:
        key = server.key_of("maya")
        new = {"query": "A film? " + "x" * 2_000, "id": "1"}
        assert server.client.post("/v1/interactions", json=new, headers=key).status_code == 201
        refused = server.client.post("/v1/interactions", json={"query": "Another?"}, headers=key)
        assert (refused.status_code, "forget something first" in refused.json()["detail"]) == (413, True)
        assert server.client.post("/v1/chat/completions", json=ASKED, headers=key).status_code == 413
        assert len(server.lm.requests) == 0
        assert server.client.delete("/v1/memory/1", headers=key).status_code == 204
        assert server.client.post("/v1/interactions", json={"query": "Another?"}, headers=key).status_code == 201


def test_requests_of_any_kind_are_counted_and_the_next_minute_is_told(server: Server) -> None:
    _, token = server.store.keys.create("user", user_id="maya", limits=KeyLimits(requests_per_minute=2))
    key = {"Authorization": f"Bearer {token}"}
    server.client.post("/v1/interactions", json={"query": "A film?"}, headers=key)
    assert server.client.get("/v1/me", headers=key).status_code == 200
    refused = server.client.get("/v1/me", headers=key)
    assert (refused.status_code, 0 < int(refused.headers["Retry-After"]) <= 60) == (429, True)


def test_feedback_makes_the_ground_truth_known(server: Server) -> None:
    key = server.key_of("maya")
    answers = [server.client.post("/v1/chat/completions", json=ASKED, headers=key).json() for _ in range(3)]
    names = [answer["personaagent"]["interaction_id"] for answer in answers]
    feedback = ({"correction": "a loud one"}, {"rating": "good"}, {"rating": "bad", "text": "too long"})
    told = [
        server.client.post("/v1/feedback", json={"interaction_id": name, **said}, headers=key)
        for name, said in zip(names, feedback, strict=True)
    ]
    assert [response.status_code for response in told] == [200, 200, 200], told[0].text
    assert [response.json()["learnt"] for response in told] == [True, True, False]
    log = server.store.user("maya").interactions
    assert [log.get(name).ground_truth for name in names] == ["a loud one", "Watch a quiet film.", None]
    remark = log.all()[-1]
    assert (remark.ground_truth, remark.metadata) == ("too long", {"feedback_on": names[2]})


@pytest.mark.parametrize("said", [{}, {"rating": "fine"}, {"correction": ""}])
def test_feedback_must_say_something(server: Server, said: dict[str, str]) -> None:
    key = server.key_of("maya")
    server.client.post("/v1/interactions", json={"query": "q", "id": "1"}, headers=key)
    answered = server.client.post("/v1/feedback", json={"interaction_id": "1", **said}, headers=key)
    assert answered.status_code == 422


def test_memory_is_listed_searched_and_forgotten(server: Server) -> None:
    key = server.key_of("maya")
    for number in range(5):
        new = {
            "query": f"film {number}",
            "ground_truth": "noir",
            "id": str(number),
            "at": f"2024-01-0{number + 1}T00:00:00Z",
        }
        server.client.post("/v1/interactions", json=new, headers=key)
    listed, before = [], None
    while True:
        page = server.client.get(
            "/v1/memory", params={"limit": 2, **({"before": before} if before else {})}, headers=key
        ).json()
        listed += [interaction["interaction_id"] for interaction in page["interactions"]]
        if (before := page["next"]) is None:
            break
    assert listed == ["4", "3", "2", "1", "0"]
    found = server.client.post("/v1/memory/search", json={"query": "film 3", "k": 1}, headers=key).json()
    assert [episode["interaction"]["interaction_id"] for episode in found["episodes"]] == ["3"]
    assert server.client.delete("/v1/memory/3", headers=key).status_code == 204
    assert server.client.delete("/v1/memory/3", headers=key).status_code == 404
    found = server.client.post("/v1/memory/search", json={"query": "film 3", "k": 5}, headers=key).json()
    assert "3" not in {episode["interaction"]["interaction_id"] for episode in found["episodes"]}


def test_the_persona_is_shown_with_its_causes_compared_and_rolled_back(server: Server) -> None:
    key = server.key_of("maya")
    user = server.store.user("maya")
    assert server.client.get("/v1/persona", headers=key).status_code == 404
    user.interactions.add([Interaction(interaction_id="1", query="A film?", ground_truth="noir")])
    old = Persona(lines=(PersonaLine(section="profile", text="likes noir", causes=("1", "gone")),))
    user.personas.add(old, reason="first", status="live")
    user.personas.add(Persona(), reason="second", status="live")
    user.personas.add(Persona(), reason="no", status="rejected")
    assert server.client.get("/v1/persona", headers=key).json()["version"]["number"] == 2
    diff = server.client.get("/v1/persona/diff", params={"old": 1, "new": 2}, headers=key).json()["diff"]
    assert "-- likes noir" in diff
    assert server.client.get("/v1/persona/diff", params={"old": 1, "new": 9}, headers=key).status_code == 404
    stale = {**key, "If-Match": '"1-live-x"'}
    assert server.client.post("/v1/persona/rollback", json={"version": 1}, headers=stale).status_code == 412
    assert server.client.post("/v1/persona/rollback", json={"version": 3}, headers=key).status_code == 409
    assert server.client.post("/v1/persona/rollback", json={"version": 1}, headers=key).json()["status"] == "live"
    assert server.client.post("/v1/persona/rollback", json={"version": 1}, headers=key).status_code == 409
    shown = server.client.get("/v1/persona", headers=key)
    assert {name: cause and cause["query"] for name, cause in shown.json()["causes"].items()} == {
        "1": "A film?",
        "gone": None,
    }
    again = server.client.get("/v1/persona", headers={**key, "If-None-Match": shown.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def wait_for(server: Server, key: dict[str, str], job_id: str) -> dict[str, Any]:
    def ended() -> dict[str, Any] | None:
        job = server.client.get(f"/v1/alignments/{job_id}", headers=key).json()
        return None if job["state"] in {"waiting", "running"} else job

    job = wait_until(ended)
    assert job is not None
    return job


def test_an_alignment_is_begun_followed_and_answers_at_once(server: Server) -> None:
    key = server.key_of("maya")
    assert server.client.post("/v1/alignments", json={}, headers=key).status_code == 409
    for number in range(3):
        new = {"query": f"film {number}?", "ground_truth": "noir"}
        server.client.post("/v1/interactions", json=new, headers=key)
    begun = server.client.post("/v1/alignments", json={"n": 2}, headers=key)
    assert (begun.status_code, begun.json()["state"]) == (202, "waiting"), begun.text
    job = wait_for(server, key, begun.json()["job_id"])
    assert (job["state"], job["version"]) == ("finished", None), job
    [alignment] = server.store.user("maya").alignments.all()
    assert alignment.alignment_id == job["alignment_id"]
    assert [decision.outcome for decision in alignment.decisions] == ["shadow"], (
        "a rule of two cases has proved nothing yet"
    )
    answered = server.client.post("/v1/chat/completions", json=ASKED, headers=key).json()
    assert answered["personaagent"]["persona_version"] == 1, "what is undecided touches no answer"
    [listed] = server.client.get("/v1/alignments", headers=key).json()["alignments"]
    assert listed == job
    assert server.client.delete(f"/v1/alignments/{job['job_id']}", headers=key).status_code == 409


def test_after_every_so_many_ground_truths_the_persona_is_aligned_by_itself_and_a_served_answer_costs_nothing() -> None:
    lm = ScriptedLM(ANSWERS)
    with serving(lm, QUICK.model_copy(update={"align_every": 3, "n": 2})) as server:
        key = server.key_of("maya")
        before = 0
        for number in range(3):
            answer = server.client.post("/v1/chat/completions", json=ASKED, headers=key).json()
            before = len(lm.requests)
            said = {"interaction_id": answer["personaagent"]["interaction_id"], "correction": f"number {number}"}
            server.client.post("/v1/feedback", json=said, headers=key)
        [job] = server.client.get("/v1/alignments", headers=key).json()["alignments"]
        job = wait_for(server, key, job["job_id"])
        assert (job["state"], job["reason"]) == ("finished", "3 ground truths are new")
        asked_for = Counter(request.outputs_wanted[0] for request in lm.requests[before:])
    scores_of_the_rule = asked_for.pop("response", 0)  # On one of three interactions, by its id.
    assert scores_of_the_rule <= 1, "no simulation: all answers were served"
    assert asked_for == {"critique": 3, "rules": 1}


def test_an_alignment_that_was_under_way_when_the_server_died_is_interrupted(server: Server) -> None:
    key = server.key_of("maya")
    lost = Job(job_id="0" * 16, state="running", worker="another", started_at=datetime.now(UTC))
    server.store.user("maya").jobs.put(lost)
    assert server.client.get(f"/v1/alignments/{'0' * 16}", headers=key).json()["state"] == "interrupted"


def test_a_user_takes_everything_along_and_is_gone(server: Server) -> None:
    maya, omar = server.key_of("maya"), server.key_of("omar")
    for key in (maya, omar):
        server.client.post("/v1/interactions", json={"query": "a film", "id": "1"}, headers=key)
    exported = server.client.get("/v1/export", headers=maya)
    assert exported.headers["content-type"].startswith("application/x-ndjson")
    imported = import_user(server.store, exported.text.splitlines(), "another")
    assert imported.interactions.all() == server.store.user("maya").interactions.all()
    receipt = server.client.delete("/v1/me", headers=maya).json()
    assert (receipt["removed"]["interactions"], receipt["removed"]["api_keys"]) == (1, 1), receipt
    assert server.client.get("/v1/me", headers=maya).status_code == 401
    assert "maya" not in {user.user_id for user in server.store.users()}
    assert server.client.get("/v1/interactions/1", headers=omar).status_code == 200


def test_limits_of_a_key_hold(server: Server) -> None:
    _, token = server.store.keys.create("user", user_id="maya", limits=KeyLimits(calls_per_day=1))
    key = {"Authorization": f"Bearer {token}"}
    statuses = [server.client.post("/v1/chat/completions", json=ASKED, headers=key) for _ in range(2)]
    assert [response.status_code for response in statuses] == [200, 429]
    assert int(statuses[1].headers["retry-after"]) > 0


def test_whoever_runs_the_server_sees_counts_and_no_words(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    key = server.key_of("maya")
    with caplog.at_level("INFO", logger="personaagent.requests"):
        server.client.get("/v1/interactions/very-secret", headers=key)
        server.client.get("/secret-path")
    assert server.client.get("/healthz").text == "ok\n"
    assert server.client.get("/readyz").text == "ready\n"
    counted = server.client.get("/metrics").text
    assert (
        'personaagent_requests_total{method="GET",route="/v1/interactions/{interaction_id}",status="404"} 1.0'
        in counted
    )
    assert "secret" not in counted + caplog.text
    assert '"route": "(none)"' in caplog.text
