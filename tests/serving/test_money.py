"""What is spent: every call to the LM is paid by the key that it is made for, and set aside before it is made."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import httpx
import pytest
from dspy.lm15 import InvalidRequestError

from personaagent.data.api_key import KeyLimits
from personaagent.data.errors import SetupError
from personaagent.data.store.keys import Usage
from personaagent.journal import AGENT, new_run, open_run
from personaagent.lms import open_lm
from personaagent.programs import AgentSettings
from personaagent.programs.lm_errors import lm_errors
from personaagent.serving.app import create_app
from personaagent.serving.configuration import Serving
from personaagent.serving.deployment import Deployment
from personaagent.testing import ScriptedLM, ScriptedRequest, in_memory_store

from ..loopback import Loopback, loopback
from .conftest import ANSWERS, ASKED, QUICK, Server, serving
from .waiting import wait_until

LEARNING = QUICK.model_copy(update={"align_every": 2, "n": 2})
DEAR = "1000,1000"
"""Dollars for a million tokens: a tenth of a cent each."""


class Metered(NamedTuple):
    """A server, and a key of a user whose calls are counted."""

    server: Server
    key_id: str
    headers: dict[str, str]

    @classmethod
    def of(cls, server: Server, **limits: float) -> "Metered":
        limited = KeyLimits.model_validate(limits)
        key, token = server.store.keys.create("user", user_id="maya", limits=limited)
        return cls(server, key.key_id, {"Authorization": f"Bearer {token}"})

    @property
    def used(self) -> Usage:
        return self.server.store.usage.of(self.key_id, datetime.now(UTC).date())

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return self.server.client.post(path, json=body, headers=self.headers)

    def tell_truths(self, number: int) -> None:
        for _ in range(number):
            told = self.post("/v1/interactions", {"query": "A film?", "ground_truth": "a quiet one"})
            assert told.status_code == 201, told.text

    def jobs(self) -> list[dict[str, Any]]:
        """Return the user's alignments, newest first, once none of them goes on."""

        def ended() -> list[list[dict[str, Any]]]:
            listed = self.server.client.get("/v1/alignments", headers=self.headers).json()["alignments"]
            return [] if any(job["state"] in {"waiting", "running"} for job in listed) else [listed]

        return wait_until(ended)[0]


@pytest.fixture
def lm_server() -> Iterator[Loopback]:
    with loopback() as up:
        yield up


@pytest.fixture
def dear(lm_server: Loopback) -> Iterator[Server]:
    """A server that learns from every two ground truths, and whose LM costs a tenth of a cent a token."""
    with serving(open_lm("openai/made-up", api_base=lm_server.url), LEARNING, price=DEAR) as server:
        yield server


def test_a_key_that_cannot_pay_for_one_call_makes_none(dear: Server, lm_server: Loopback) -> None:
    maya = Metered.of(dear, dollars_per_day=0.001)
    answered = [maya.post("/v1/chat/completions", ASKED) for _ in range(5)]
    assert [response.status_code for response in answered] == [429] * 5
    assert int(answered[0].headers["retry-after"]) > 0
    error = answered[0].json()["error"]
    assert "0.001 dollars a day" in error["message"]
    assert error["code"] == "rate_limit_exceeded"
    assert (lm_server.asked, maya.used) == ([], (0, 0.0))


def test_each_answer_is_charged_what_its_calls_have_cost(dear: Server, lm_server: Loopback) -> None:
    maya = Metered.of(dear, dollars_per_day=1_000)
    assert [maya.post("/v1/chat/completions", ASKED).status_code for _ in range(3)] == [200] * 3
    assert maya.used == (len(lm_server.asked), pytest.approx(0.010 * len(lm_server.asked)))


def test_what_is_left_of_a_day_is_never_passed(dear: Server, lm_server: Loopback) -> None:
    maya = Metered.of(dear, dollars_per_day=4)
    statuses = [maya.post("/v1/chat/completions", ASKED).status_code for _ in range(3)]
    dear.store.usage.add(maya.key_id, datetime.now(UTC).date(), 0, 3.5)
    before = len(lm_server.asked)
    assert statuses == [200] * 3
    assert maya.post("/v1/chat/completions", ASKED).status_code == 429
    assert (len(lm_server.asked), maya.used.dollars) == (before, pytest.approx(3.5 + 0.010 * before))


@pytest.mark.parametrize("limits", [{"calls_per_day": 0}, {"dollars_per_day": 0.001}])
def test_a_key_that_cannot_pay_begins_no_alignment_by_giving_ground_truths(
    dear: Server, lm_server: Loopback, limits: dict[str, float]
) -> None:
    maya = Metered.of(dear, **limits)
    maya.tell_truths(6)
    assert maya.post("/v1/alignments", {}).status_code == 429
    assert maya.jobs() == []
    assert (lm_server.asked, maya.used) == ([], (0, 0.0))


def test_an_alignment_ends_where_its_key_has_spent_its_day(dear: Server, lm_server: Loopback) -> None:
    maya = Metered.of(dear, calls_per_day=2)
    maya.tell_truths(2)
    [job] = maya.jobs()
    assert "this key may make 2 calls a day" in job["reason"]
    assert job["key_id"] == maya.key_id
    assert (len(lm_server.asked), maya.used.calls) == (2, 2)
    maya.tell_truths(4)
    assert len(maya.jobs()) == 1
    assert len(lm_server.asked) == 2


def test_the_key_that_gave_the_last_ground_truth_pays_for_the_alignment(dear: Server, lm_server: Loopback) -> None:
    poor, rich = Metered.of(dear, calls_per_day=0), Metered.of(dear, calls_per_day=1_000)
    poor.tell_truths(2)
    rich.tell_truths(1)
    [job] = rich.jobs()
    assert (job["state"], job["key_id"]) == ("finished", rich.key_id), job
    assert (poor.used.calls, rich.used.calls) == (0, len(lm_server.asked))
    assert lm_server.asked


def test_an_alignment_that_failed_is_begun_again_only_after_as_many_ground_truths() -> None:
    def failing(request: ScriptedRequest) -> Any:
        if "rules" in request.outputs_wanted:
            return InvalidRequestError("made-up refusal")
        return {name: ANSWERS[name] for name in request.outputs_wanted}

    lm = ScriptedLM(failing)
    with serving(lm, LEARNING) as server:
        maya = Metered.of(server)
        maya.tell_truths(2)
        [job] = maya.jobs()
        assert job["state"] == "failed", job
        paid = len(lm.requests)
        maya.tell_truths(1)
        assert (len(maya.jobs()), len(lm.requests)) == (1, paid)
        maya.tell_truths(1)
        assert [job["state"] for job in maya.jobs()] == ["failed", "failed"]


@pytest.fixture(params=["lean", "paper"])
def busy(request: pytest.FixtureRequest) -> Iterator[tuple[Metered, ScriptedLM]]:
    """A server that aligns after every ground truth, and what was asked of its LM."""
    lm = ScriptedLM(ANSWERS)
    agent = AgentSettings(preset=request.param, action=False)
    with serving(lm, Serving(align_every=1, n=2, agent=agent)) as server:
        yield Metered.of(server, calls_per_day=1_000_000), lm


def _never() -> AbstractContextManager[Deployment]:
    raise AssertionError("this application is only looked at")


def every_request() -> dict[tuple[str, str], list[tuple[str, dict[str, Any] | None]]]:
    """Return requests for every route, in an order in which each finds something."""
    ask = ("/v1/chat/completions", ASKED)
    return {
        ("POST", "/v1/chat/completions"): [ask, ("/v1/chat/completions", {**ASKED, "stream": True}), ask],
        ("GET", "/v1/models"): [("/v1/models", None)],
        ("GET", "/v1/models/{model:path}"): [("/v1/models/personaagent", None)],
        ("POST", "/v1/interactions/batch"): [
            ("/v1/interactions/batch", {"interactions": [{"query": "A book?", "ground_truth": "a short one"}]})
        ],
        ("POST", "/v1/interactions"): [
            ("/v1/interactions", {"query": f"A film {number}?", "ground_truth": "a quiet one", "id": str(number)})
            for number in range(3)
        ],
        ("GET", "/v1/interactions/{interaction_id:path}"): [("/v1/interactions/1", None)],
        ("POST", "/v1/feedback"): [
            ("/v1/feedback", {"interaction_id": "1", "rating": "bad", "correction": "noir", "text": "too long"})
        ],
        ("GET", "/v1/memory"): [("/v1/memory", None)],
        ("POST", "/v1/memory/search"): [("/v1/memory/search", {"query": "film"})],
        ("DELETE", "/v1/memory/{interaction_id:path}"): [("/v1/memory/0", None)],
        ("POST", "/v1/said"): [("/v1/said", {"text": "I like films in which little happens"})],
        ("GET", "/v1/said"): [("/v1/said", None)],
        ("DELETE", "/v1/said/{statement_id:path}"): [("/v1/said/1", None)],
        ("POST", "/v1/alignments"): [("/v1/alignments", {"n": 2})],
        ("GET", "/v1/alignments"): [("/v1/alignments", None)],
        ("GET", "/v1/alignments/{job_id}"): [(f"/v1/alignments/{'0' * 16}", None)],
        ("DELETE", "/v1/alignments/{job_id}"): [(f"/v1/alignments/{'0' * 16}", None)],
        ("GET", "/v1/persona"): [("/v1/persona", None)],
        ("GET", "/v1/persona/versions"): [("/v1/persona/versions", None)],
        ("GET", "/v1/persona/versions/{number}"): [("/v1/persona/versions/1", None)],
        ("GET", "/v1/persona/blame"): [("/v1/persona/blame", None)],
        ("GET", "/v1/persona/diff"): [("/v1/persona/diff?old=1&new=1", None)],
        ("POST", "/v1/persona/rollback"): [("/v1/persona/rollback", {"version": 1})],
        ("GET", "/v1/export"): [("/v1/export", None)],
        ("GET", "/v1/me"): [("/v1/me", None)],
        ("GET", "/healthz"): [("/healthz", None)],
        ("GET", "/readyz"): [("/readyz", None)],
        ("GET", "/metrics"): [("/metrics", None)],
        ("GET", "/"): [("/", None)],
        ("DELETE", "/v1/me"): [("/v1/me", None)],
    }


def test_no_route_and_no_work_in_the_background_asks_the_lm_outside_the_meter(
    busy: tuple[Metered, ScriptedLM],
) -> None:
    maya, lm = busy
    requests, counted = every_request(), 0
    paths: dict[str, dict[str, object]] = create_app(_never).openapi()["paths"]
    assert len(paths) > 20
    assert {(method.upper(), path.replace(":path", "")) for path, calls in paths.items() for method in calls} <= {
        (method, path.replace(":path", "")) for method, path in requests
    }
    for (method, _), sent in requests.items():
        for path, body in sent:
            answered = maya.server.client.request(method, path, json=body, headers=maya.headers)
            assert answered.status_code < 500, (path, answered.text)
            if path != "/v1/me" or method != "DELETE":
                maya.jobs()
                counted = maya.used.calls
            assert counted == len(lm.requests), path
    assert counted > 10


def test_a_call_that_no_key_pays_for_is_refused() -> None:
    lm = ScriptedLM(ANSWERS)
    with in_memory_store() as store, open_run(store.journal, new_run("serve"), {AGENT: lm}) as run:
        Deployment(store, run, QUICK, erase=store.people.erase)  # type: ignore[arg-type]
        with run.inside(), lm_errors(), pytest.raises(SetupError, match="no API key pays"), lm_errors():
            run.lm(AGENT)("made-up question")
    assert lm.requests == ()
