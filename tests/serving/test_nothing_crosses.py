"""Many users behind one server: whatever one of them does, another cannot tell that there is one.

Every user is played twice: in a world with all the others, and in a world alone. What the API says must be the same,
and nothing that one user ever wrote may be found in what is sent to the LM for another, in what the other reads, in
logs or in metrics.
"""

import re
from collections import defaultdict
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from personaagent.testing import ScriptedLM, ScriptedRequest

from .conftest import ANSWERS, QUICK, Server, serving

USERS = (
    "maya",
    "Maya",
    "MAYA ",
    "maya/omar",
    "maya:1",
    'ma"ya',
    "ma'ya; --",
    "m\u00e4ya",
    "ma\u0308ya",
    "\u200bmaya",
    "x" * 200,
    "../maya",
    "%2e%2e",
    "{maya}",
    "\u7528\u6237",
)
CANARY = re.compile(r"canary-(\d+)-\d+")
CHANGING = re.compile(
    r"(?:chatcmpl-)?\b[0-9a-f]{12,32}\b"  # ids
    r"|\d{4}-\d\d-\d\dT[0-9:.]+Z"  # times
    r'|"created": ?\d+'
    r"|: thinking\n\n"  # while an answer takes long
)


def echo(request: ScriptedRequest) -> dict[str, object]:
    """Answer with what was asked, so that whatever reaches a prompt can come out."""
    seen = sorted(set(CANARY.findall(request.text)))
    said = (
        {**ANSWERS, "response": f"I saw {', '.join(seen)}: {request.input('query')[:500]}"}
        if "response" in (request.outputs_wanted)
        else ANSWERS
    )
    return {name: said[name] for name in request.outputs_wanted}


class World:
    """A server with some users."""

    def __init__(self) -> None:
        self.lm = ScriptedLM(echo)
        self._context = serving(self.lm, QUICK)
        self.server: Server = self._context.__enter__()
        self.keys: dict[int, dict[str, str]] = {}
        self.names: dict[int, list[str]] = defaultdict(list)
        """Interaction ids of each user, in the order in which they came."""

    def ask(self, user: int, method: str, path: str, **arguments: Any) -> httpx.Response:
        if user not in self.keys:
            self.keys[user] = self.server.key_of(USERS[user])
        return self.server.client.request(method, path, headers=self.keys[user], **arguments)

    def close(self) -> None:
        self._context.__exit__(None, None, None)


class Neighbours(RuleBasedStateMachine):
    """Users who do not know of each other."""

    steps = 0

    @initialize()
    def begin(self) -> None:
        self.together = World()
        self.alone: dict[int, World] = {}
        self.written = 0

    def teardown(self) -> None:
        for world in (self.together, *self.alone.values()):
            prompts = [(CANARY.findall(request.text)) for request in world.lm.requests]
            assert all(len(set(users)) <= 1 for users in prompts), "a prompt has words of two users in it"
        counted = self.together.server.client.get("/metrics").text
        assert not CANARY.search(counted)
        for world in reversed((self.together, *self.alone.values())):  # Each is open within the one before it.
            world.close()

    users = some.integers(0, len(USERS) - 1)
    which = some.integers(0, 5)

    @rule(user=users, text=some.text(max_size=30), answered=some.booleans())
    def tell(self, user: int, text: str, answered: bool) -> None:
        new = {"query": self._words(user, text), **({"ground_truth": self._words(user, "did")} if answered else {})}
        self._same(user, "POST", "/v1/interactions", json=new)

    @rule(user=users, text=some.text(max_size=30), stream=some.booleans())
    def chat(self, user: int, text: str, stream: bool) -> None:
        asked = [{"role": "user", "content": self._words(user, text)}]
        self._same(
            user, "POST", "/v1/chat/completions", json={"model": "personaagent", "messages": asked, "stream": stream}
        )

    @rule(user=users, which=which)
    def correct(self, user: int, which: int) -> None:
        self._same_of_one(user, which, "POST", "/v1/feedback", "interaction_id", correction=self._words(user, "no"))

    @rule(user=users, which=which)
    def forget(self, user: int, which: int) -> None:
        self._same_of_one(user, which, "DELETE", "/v1/memory/{}")

    @rule(user=users, other=users, which=which)
    def reach_for_anothers(self, user: int, other: int, which: int) -> None:
        if user != other and (names := self.together.names[other]):
            name = names[which % len(names)]
            for method, path in (("GET", "/v1/interactions/{}"), ("DELETE", "/v1/memory/{}")):
                answered = self.together.ask(user, method, path.format(name))
                assert answered.status_code == 404
                assert not CANARY.search(answered.text)

    @rule(user=users, text=some.sampled_from(["canary", "did", "film"]))
    def search(self, user: int, text: str) -> None:
        self._same(user, "POST", "/v1/memory/search", json={"query": text, "k": 5})

    @rule(user=users, path=some.sampled_from(["/v1/memory", "/v1/persona", "/v1/persona/versions", "/v1/alignments"]))
    def read(self, user: int, path: str) -> None:
        self._same(user, "GET", path)

    def _words(self, user: int, text: str) -> str:
        self.written += 1
        return f"canary-{user}-{self.written} " + "".join(each for each in text if each.isprintable())

    def _same_of_one(self, user: int, which: int, method: str, path: str, field: str = "", **body: str) -> None:
        """Do the same to the same interaction, whose id differs between the worlds."""
        if not (names := self.together.names[user]):
            return
        place = which % len(names)
        answers = []
        for world in (self.together, self._alone(user)):
            name = world.names[user][place]
            arguments = {"json": {field: name, **body}} if field else {}
            answers.append(world.ask(user, method, path.format(name), **arguments))
        self._compare(user, *answers)

    def _same(self, user: int, method: str, path: str, **arguments: Any) -> None:
        answers = [world.ask(user, method, path, **arguments) for world in (self.together, self._alone(user))]
        self._compare(user, *answers)
        for world, answered in zip((self.together, self._alone(user)), answers, strict=True):
            if method == "POST" and path in {"/v1/interactions", "/v1/chat/completions"} and answered.is_success:
                [name, *_] = re.findall(r'"interaction_id": ?"([^"]+)"', answered.text)
                world.names[user].append(name)

    def _compare(self, user: int, together: httpx.Response, alone: httpx.Response) -> None:
        type(self).steps += 1
        assert together.status_code == alone.status_code
        assert CHANGING.sub("", together.text) == CHANGING.sub("", alone.text)
        assert set(CANARY.findall(together.text)) <= {str(user)}
        assert not together.is_server_error, together.text

    def _alone(self, user: int) -> World:
        if user not in self.alone:
            self.alone[user] = World()
        return self.alone[user]


def machine(examples: int, steps: int) -> int:
    Neighbours.steps = 0
    how = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    run_state_machine_as_test(Neighbours, settings=how)
    return Neighbours.steps


@pytest.mark.slow
def test_nobody_can_tell_that_there_are_others() -> None:
    assert machine(examples=12, steps=30) >= 60


@pytest.mark.soak
def test_nobody_can_tell_in_five_thousand_steps() -> None:
    steps = machine(examples=100, steps=120)
    print(f"{steps} steps, each in two worlds")  # noqa: T201
    assert steps >= 5_000
