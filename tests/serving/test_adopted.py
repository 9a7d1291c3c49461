"""What another optimizer makes of a user's program is adopted, and the server answers with it."""

from collections.abc import Iterator
from typing import Any

import dspy
import pytest
from dspy.experimental import ReAnchor
from dspy.teleprompt import GEPA, BootstrapFewShot

from personaagent.data.interaction import Interaction
from personaagent.data.persona import Adopted
from personaagent.data.store import User
from personaagent.data.task import task_named
from personaagent.personas import adopt, live_persona, program
from personaagent.programs import PersonaAgent
from personaagent.testing import ScriptedLM, ScriptedRequest

from .conftest import Server, serving

TASK = task_named("LaMP-2M")
FILMS = {
    "A ghost haunts a tax inspector.": "dark comedy",
    "A parrot robs a bank.": "dark comedy",
    "A lighthouse keeper paints the sea.": "classic",
    "A baker inherits a castle.": "classic",
    "A robot learns to dance.": "dark comedy",
    "Two sailors share a letter.": "classic",
}
HISTORY = [
    Interaction(interaction_id=f"{place}", query=TASK.query(plot), ground_truth=tag, position=place, task=TASK.name)
    for place, (plot, tag) in enumerate(FILMS.items())
]
TRAINSET = [
    dspy.Example(query=interaction.query, ground_truth=interaction.ground_truth).with_inputs("query")
    for interaction in HISTORY
]
BETTER = "Say dark comedy of whatever is odd."
ASKED = {"model": f"personaagent/{TASK.name}", "messages": [{"role": "user", "content": TASK.query("An odd heist.")}]}


def answer(request: ScriptedRequest) -> object:
    """Answer `comedy` to most of what the user calls a dark comedy, unless told better."""
    odd = any(word in request.input("query") for word in ("ghost", "parrot", "robot", "odd"))
    if BETTER in request.system:
        return {"dark comedy" if odd else "classic": 1.0}
    return {"comedy": 0.5, "dark comedy": 0.4, "classic": 0.1} if odd else {"classic": 0.9, "comedy": 0.1}


def right(example: Any, prediction: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None) -> float:
    return float(example.ground_truth == prediction.response)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(ScriptedLM({"response": answer})) as up:
        yield up


@pytest.fixture
def user(server: Server) -> User:
    user = server.store.add_user("maya")
    user.interactions.add(HISTORY)
    return user


def asked_of(server: Server) -> tuple[str, ScriptedRequest]:
    """Ask the server, and return its answer and what the LM was asked."""
    answered = server.client.post("/v1/chat/completions", json=ASKED, headers=server.key_of("maya"))
    assert answered.status_code == 200, answered.text
    assert isinstance(server.lm, ScriptedLM)
    return answered.json()["choices"][0]["message"]["content"], server.lm.requests[-1]


def agent_of(user: User) -> PersonaAgent:
    return program(user, live_persona(user), TASK)


def adopted_by(user: User, better: dspy.Module, origin: str) -> Adopted:
    assert isinstance(better, PersonaAgent)
    version = adopt(user, better, origin)
    assert version.status == "live" and origin in version.reason
    assert version.persona.adopted is not None
    return version.persona.adopted


def test_the_instructions_of_gepa(server: Server, user: User) -> None:
    reflecting = ScriptedLM({"new_instruction": BETTER}, model="scripted/reflecting")
    gepa = GEPA(right, max_metric_calls=30, reflection_lm=reflecting, num_threads=1)
    with dspy.context(lm=server.lm):
        better = gepa.compile(agent_of(user), trainset=TRAINSET, valset=TRAINSET)
    adopted = adopted_by(user, better, "GEPA")
    assert adopted.predictors.keys() == {"respond.predict"}
    assert adopted.predictors["respond.predict"].keys() == {"signature"}
    said, request = asked_of(server)
    assert said == "dark comedy"
    assert BETTER in request.system


def test_the_demos_of_bootstrap_few_shot(server: Server, user: User) -> None:
    bootstrap = BootstrapFewShot(metric=right, max_bootstrapped_demos=2, max_labeled_demos=2)
    with dspy.context(lm=server.lm):
        better = bootstrap.compile(agent_of(user), trainset=TRAINSET)
    adopted = adopted_by(user, better, "BootstrapFewShot")
    assert adopted.predictors["respond.predict"].keys() == {"demos"}
    _, request = asked_of(server)
    turns = [message.text or "" for message in request.request.messages]
    assert turns[1] == turns[3] == '{"response": "classic"}'
    assert "A lighthouse keeper paints the sea." in turns[0]


def test_the_weights_of_reanchor(server: Server, user: User) -> None:
    reanchor = ReAnchor(right, num_threads=1, require_cache=False)
    with dspy.context(lm=server.lm):
        better = reanchor.compile(agent_of(user), trainset=TRAINSET)
    adopted = adopted_by(user, better, "ReAnchor")
    assert adopted.predictors["respond.predict"].keys() == {"fields"}
    said, _ = asked_of(server)
    assert said == "dark comedy"
