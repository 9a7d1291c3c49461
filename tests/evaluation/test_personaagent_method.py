"""The whole system and its ablations as methods: what each asks, and what each may know."""

from collections.abc import Iterator

import dspy
import pytest

from personaagent.data.errors import InputError
from personaagent.data.lamp import LampUser
from personaagent.evaluation import PersonaAgentMethod, Workbench
from personaagent.evaluation.sweeps import ABLATIONS, swept
from personaagent.programs import PersonaAgent
from personaagent.testing import ScriptedLM, in_memory_store

from .conftest import ANSWERS, TASK, MemoryBench, made_up_user

TAGS = ("classic", "classic", "comedy", "action", "classic")


@pytest.fixture
def bench() -> Iterator[Workbench]:
    with in_memory_store() as store:
        yield MemoryBench(TASK, store)


@pytest.fixture
def maya() -> LampUser:
    return made_up_user("maya", {"q1": "comedy"}, TAGS)


async def prepared(method: PersonaAgentMethod, user: LampUser, bench: Workbench) -> tuple[PersonaAgent, list[str]]:
    """Return the program and the first output of each call that its preparation made."""
    tool = "search_wikipedia" if method.without == "memory" else "look_up_profile"
    lm = ScriptedLM({**ANSWERS, "tool": tool})
    with dspy.context(lm=lm):
        program = await method.prepare(user, bench)
    return program, [request.outputs_wanted[0] for request in lm.requests]


@pytest.mark.parametrize(
    ("without", "simulated"),
    [
        ("alignment", []),
        ("persona", []),
        ("memory", ["tool", "response"]),
        ("action", ["search", "response"]),
        (None, ["search", "tool", "response"]),
    ],
)
async def test_an_ablation_aligns_the_agent_that_it_evaluates(
    without: str | None, simulated: list[str], maya: LampUser, bench: Workbench
) -> None:
    method = PersonaAgentMethod.model_validate({"without": without, "n": 2})
    program, asked = await prepared(method, maya, bench)
    revised = ["critique", "critique", "profile"] if simulated else []
    assert sorted(asked) == sorted([*simulated, *simulated, *revised])
    assert hasattr(program, "alignment") is bool(simulated)


async def test_the_first_persona_knows_what_is_older_than_the_batch_or_nothing(
    maya: LampUser, bench: Workbench
) -> None:
    program, _ = await prepared(PersonaAgentMethod(without="alignment", n=2), maya, bench)
    assert program.persona.causes == {"maya-past-0", "maya-past-1", "maya-past-2"}


@pytest.mark.parametrize("without", ["persona", "memory"])
async def test_an_ablated_persona_knows_nothing(without: str, maya: LampUser, bench: Workbench) -> None:
    program, _ = await prepared(PersonaAgentMethod.model_validate({"without": without}), maya, bench)
    first = program.alignment.base if without == "memory" else program.persona
    assert not first.causes
    assert bool(first.lines) is (without == "memory")


async def test_a_history_without_labels_is_answered_under_the_first_persona(bench: Workbench, maya: LampUser) -> None:
    unlabelled = tuple(one.model_copy(update={"ground_truth": None}) for one in maya.history)
    program, asked = await prepared(PersonaAgentMethod(), LampUser("maya", unlabelled, maya.questions), bench)
    assert not hasattr(program, "alignment")
    assert asked == []


async def test_it_learns_online_by_remembering(maya: LampUser, bench: Workbench) -> None:
    program, _ = await prepared(PersonaAgentMethod(without="alignment"), maya, bench)
    grown = LampUser("maya", (*maya.history, *maya.questions), ())
    assert await PersonaAgentMethod(without="alignment").learn(program, grown, bench) is program
    assert "q1" in {one.interaction_id for one in program.memory.history()}


def test_ablations_and_sweeps_are_methods() -> None:
    assert ABLATIONS[0] == "personaagent"
    assert "personaagent:without=action" in ABLATIONS
    assert swept(["n=1,3", "k=8"]) == ("personaagent:n=1", "personaagent", "personaagent:k=8")
    for wrong in ("n=", "n=0", "m=3", "n", "k=1.5"):
        with pytest.raises(InputError, match="write it as n=1,3,5"):
            swept([wrong])
