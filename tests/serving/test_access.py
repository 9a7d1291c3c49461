"""Names, times and tags that are not what they seem: no two become one, and none is a fault of the server's."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from personaagent import telling
from personaagent.data.persona import Persona, PersonaLine
from personaagent.data.store.interactions import InteractionLog

from .conftest import Server


@pytest.fixture
def tenant(server: Server) -> dict[str, str]:
    return {"Authorization": f"Bearer {server.store.keys.create('tenant', tenant='acme')[1]}"}


@pytest.mark.parametrize("named", [b"%ff", b"%fe", b"m\xc3\xa4ya", b"m\xe4ya", b"100%", b"%zz"])
def test_a_user_whose_name_is_not_percent_encoded_utf8_is_refused(
    server: Server, tenant: dict[str, str], named: bytes
) -> None:
    headers = [*((name.encode(), value.encode()) for name, value in tenant.items()), (b"X-PersonaAgent-User", named)]
    for method, path in (("POST", "/v1/interactions"), ("GET", "/v1/me"), ("DELETE", "/v1/me")):
        body = {"query": "q"} if method == "POST" else None
        answered = server.client.request(method, path, headers=headers, json=body)
        assert (answered.status_code, answered.json()["title"]) == (400, "Bad Request")
    assert server.store.users() == ()


def test_a_path_that_is_not_utf8_is_refused_since_two_could_name_one_interaction(server: Server) -> None:
    key = server.key_of("maya")
    server.client.post("/v1/interactions", json={"query": "q", "id": "1"}, headers=key)
    assert server.client.get("/v1/interactions/%ff", headers=key).status_code == 400
    assert server.client.delete("/v1/memory/%fe", headers=key).status_code == 400
    assert server.client.get("/v1/interactions/%31", headers=key).status_code == 200


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"])
def test_a_time_that_utc_has_not_is_a_problem_of_the_request(server: Server, at: str) -> None:
    answered = server.client.post("/v1/interactions", json={"query": "q", "at": at}, headers=server.key_of("maya"))
    assert (answered.status_code, "body.at" in answered.json()["detail"]) == (422, True)


def with_two_versions(server: Server) -> tuple[dict[str, str], str]:
    """Return the key of a user with two persona versions, and the tag of the live one."""
    key, user = server.key_of("maya"), server.store.user("maya")
    for text in ("likes noir", "likes musicals"):
        line = PersonaLine(section="profile", text=text)
        user.personas.add(Persona(lines=(line,)), reason=text, status="live")
    return key, server.client.get("/v1/persona", headers=key).headers["etag"]


def together(work: Callable[..., Any], number: int) -> Callable[..., Any]:
    """Let the first so many who do something begin at the same moment."""
    begin, first = Barrier(number), iter(range(number))

    def begun(*arguments: Any, **named: Any) -> Any:
        if next(first, None) is not None:
            begin.wait(20)
        return work(*arguments, **named)

    return begun


def test_of_many_rollbacks_of_one_version_one_is_done(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    key, tag = with_two_versions(server)
    monkeypatch.setattr(telling, "roll_back", together(telling.roll_back, 4))
    if_same = {**key, "If-Match": tag}
    with ThreadPoolExecutor(4) as clients:
        sent = [
            clients.submit(server.client.post, "/v1/persona/rollback", json={"version": 1}, headers=if_same)
            for _ in range(4)
        ]
        statuses = sorted(request.result().status_code for request in sent)
    assert statuses == [200] + [412] * 3
    assert [promotion.number for promotion in server.store.user("maya").personas.promotions()] == [1, 2, 1]


def test_if_match_takes_any_live_version_a_list_of_tags_and_no_weak_tag(server: Server) -> None:
    key, tag = with_two_versions(server)
    sent = [
        server.client.post("/v1/persona/rollback", json={"version": number}, headers={**key, "If-Match": said})
        for number, said in ((1, f"W/{tag}"), (1, '"x", "y"'), (1, f'"x", {tag}'), (2, "*"))
    ]
    assert [response.status_code for response in sent] == [412, 412, 200, 200]


def test_if_none_match_takes_any_live_version_a_list_of_tags_and_weak_tags(server: Server) -> None:
    key, tag = with_two_versions(server)
    read = [
        server.client.get("/v1/persona", headers={**key, "If-None-Match": said})
        for said in ("*", tag, f"W/{tag}", f'"x", W/{tag}', '"x"')
    ]
    assert [response.status_code for response in read] == [304, 304, 304, 304, 200]


def test_a_rollback_to_what_is_live_already_is_still_a_conflict(server: Server) -> None:
    key, tag = with_two_versions(server)
    again = server.client.post("/v1/persona/rollback", json={"version": 2}, headers={**key, "If-Match": tag})
    assert again.status_code == 409


def test_two_interactions_of_one_id_that_are_sent_at_once_are_one(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = server.key_of("maya")
    monkeypatch.setattr(InteractionLog, "add", together(InteractionLog.add, 4))
    with ThreadPoolExecutor(4) as clients:
        sent = [
            clients.submit(server.client.post, "/v1/interactions", json={"query": "q", "id": "1"}, headers=key)
            for _ in range(4)
        ]
        assert {request.result().status_code for request in sent} == {201}
    assert len(server.store.user("maya").interactions) == 1
