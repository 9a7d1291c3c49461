"""Certifying on histories: what is scored, from what it is proposed, and which kinds come through."""

from collections.abc import Callable, Iterator

import dspy
import pytest

from personaagent.data.errors import InputError
from personaagent.data.interaction import Interaction
from personaagent.data.lamp import LampData, LampUser
from personaagent.data.task import OPEN
from personaagent.evaluation import PersonaAgentMethod, Resources
from personaagent.evaluation.calibration import SCORED, Certification, certify
from personaagent.testing import ScriptedLM, ScriptedRequest, in_memory_store

from .conftest import InMemoryResources

USERS, PAST, OLDER = 8, 12, 2
RULE = {"when": "it is about a town", "then": "end with an exclamation mark", "cases": [1, 2]}


def writer(number: int) -> LampUser:
    """Return a user whose texts all end in the same way."""
    history = tuple(
        Interaction(
            interaction_id=f"w{number}-{past}",
            query=f"What of made-up town {past}, writer {number}?",
            ground_truth=f"we like town {past} very much!",
            position=past,
            task=OPEN.name,
        )
        for past in range(PAST)
    )
    asked = Interaction(interaction_id="q", query="And the sea?", ground_truth="secret!", position=PAST, task=OPEN.name)
    return LampUser(f"writer {number}", history, (asked,))


@pytest.fixture
def resources() -> Iterator[Resources]:
    with in_memory_store() as store:
        yield InMemoryResources(OPEN, store)


async def certified(resources: Resources, lm: ScriptedLM, users: int = USERS) -> Certification:
    data = LampData(OPEN, tuple(map(writer, range(users))))
    with dspy.context(lm=lm):
        return await certify(data, PersonaAgentMethod(), resources, older=OLDER, concurrency=2)


def answering(with_rule: str, without: str) -> Callable[[ScriptedRequest], dict[str, object]]:
    def answer(request: ScriptedRequest) -> dict[str, object]:
        response = with_rule if str(RULE["then"]) in request.text else without
        return {"response": response, "critique": "This user is glad.", "rules": [RULE]}

    return answer


async def test_rules_that_help_are_certified_at_one_more_call_an_interaction(resources: Resources) -> None:
    lm = ScriptedLM(answering("we like the town very much!", "A place."))
    found = await certified(resources, lm)
    assert found.certificate.kinds.keys() == found.tested.keys() == {"rule"}
    assert (found.certificate.weights, found.certificate.users) == (None, USERS)
    assert found.tested["rule"].n == USERS and found.tested["rule"].mean > 0
    learnt_from = OLDER + OLDER + 1  # answers, critiques, rules
    assert len(lm.requests) == (learnt_from + 2 * SCORED) * USERS


async def test_rules_that_harm_are_not_certified(resources: Resources) -> None:
    found = await certified(resources, ScriptedLM(answering("A place.", "we like the town, in some respects!")))
    assert not found.certificate.kinds
    assert found.tested["rule"].mean < 0 and found.tested["rule"].wealth < 1


async def test_an_embedded_lm_is_asked_for_no_rules(resources: Resources) -> None:
    lm = ScriptedLM(answering("we like the town very much!", "A place."), model="embedded/made-up")
    found = await certified(resources, lm)
    assert not found.tested
    assert {request.outputs_wanted for request in lm.requests} == {("response",)}


async def test_nothing_later_than_an_interaction_and_no_question_reaches_the_lm(resources: Resources) -> None:
    lm = ScriptedLM(answering("one", "another"))
    await certified(resources, lm)
    assert all("secret" not in request.text for request in lm.requests)
    for request in lm.requests:
        if request.outputs_wanted != ("response",):
            continue
        asked = next(past for past in range(PAST) if f"town {past}, writer" in request.input("query"))
        assert not [past for past in range(asked, PAST) if f"we like town {past} " in request.text]


async def test_the_same_answers_give_the_same_certificate(resources: Resources) -> None:
    script = answering("we like the town very much!", "A place.")
    with in_memory_store() as store:
        first = await certified(InMemoryResources(OPEN, store), ScriptedLM(script))
    second = await certified(resources, ScriptedLM(script))
    assert second.certificate.fingerprint == first.certificate.fingerprint


async def test_one_user_is_not_enough(resources: Resources) -> None:
    with pytest.raises(InputError, match="at least two"):
        await certified(resources, ScriptedLM(answering("one", "another")), users=1)
