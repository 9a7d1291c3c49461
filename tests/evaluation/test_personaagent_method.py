"""The whole system and its ablations as methods: what each asks, and what each may know."""

import dspy
import pytest

from personaagent.data.errors import InputError
from personaagent.data.lamp import LampUser
from personaagent.evaluation import PersonaAgentMethod, Resources, methods_named
from personaagent.evaluation.names import ABLATIONS, swept
from personaagent.programs import PersonaAgent
from personaagent.testing import ScriptedLM

from .conftest import ANSWERS, TASK, made_up_user

TAGS = ("classic", "classic", "comedy", "action", "classic")


@pytest.fixture
def maya() -> LampUser:
    return made_up_user("maya", {"q1": "comedy"}, TAGS)


async def prepared(method: PersonaAgentMethod, user: LampUser, resources: Resources) -> tuple[PersonaAgent, list[str]]:
    """Return the program and the first output of each call that its preparation made."""
    tool = "search_wikipedia" if method.without == "memory" else "look_up_profile"
    lm = ScriptedLM({**ANSWERS, "tool": tool})
    with dspy.context(lm=lm):
        program = await method.prepare(user, resources)
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
async def test_an_ablation_of_the_paper_aligns_the_agent_that_it_evaluates(
    without: str | None, simulated: list[str], maya: LampUser, resources: Resources
) -> None:
    method = PersonaAgentMethod.model_validate({"preset": "paper", "without": without, "n": 2})
    program, asked = await prepared(method, maya, resources)
    revised = ["critique", "critique", "profile"] if simulated else []
    assert sorted(asked) == sorted([*simulated, *simulated, *revised])
    assert hasattr(program, "alignment") is bool(simulated)


@pytest.mark.parametrize(
    ("without", "calls"),
    [(None, 2), ("weights", 2), ("votes", 2), ("memory", 2), ("lines", 0), ("alignment", 0), ("persona", 0)],
)
async def test_an_alignment_asks_once_for_each_interaction_of_its_batch(
    without: str | None, calls: int, maya: LampUser, resources: Resources
) -> None:
    method = PersonaAgentMethod.model_validate({"without": without, "n": 2})
    program, asked = await prepared(method, maya, resources)
    assert asked == ["response"] * calls
    assert hasattr(program, "alignment") is bool(calls)


async def test_the_first_persona_of_the_paper_knows_what_is_older_than_the_batch(
    maya: LampUser, resources: Resources
) -> None:
    method = PersonaAgentMethod(preset="paper", without="alignment", n=2)
    program, _ = await prepared(method, maya, resources)
    assert program.persona.causes == {"maya-past-0", "maya-past-1", "maya-past-2"}


async def test_where_answers_are_weighed_the_first_persona_counts_none_in_words(
    maya: LampUser, resources: Resources
) -> None:
    program, _ = await prepared(PersonaAgentMethod(without="alignment"), maya, resources)
    assert program.persona.lines == ()
    unweighed, _ = await prepared(PersonaAgentMethod(without="weights", n=2), made_up_user("ben", {}, TAGS), resources)
    assert [line.kind for line in unweighed.persona.lines] == ["statement"]


@pytest.mark.parametrize("without", ["persona", "memory"])
async def test_an_ablated_persona_knows_nothing(without: str, maya: LampUser, resources: Resources) -> None:
    method = PersonaAgentMethod.model_validate({"preset": "paper", "without": without})
    program, _ = await prepared(method, maya, resources)
    first = program.alignment.base if without == "memory" else program.persona
    assert not first.causes
    assert bool(first.lines) is (without == "memory")


async def test_a_history_without_labels_is_answered_under_the_first_persona(
    resources: Resources, maya: LampUser
) -> None:
    unlabelled = tuple(past.model_copy(update={"ground_truth": None}) for past in maya.history)
    program, asked = await prepared(PersonaAgentMethod(), LampUser("maya", unlabelled, maya.questions), resources)
    assert not hasattr(program, "alignment")
    assert asked == []


@pytest.mark.parametrize("name", ["iterations=2", "without=action", "preset=paper,without=votes"])
def test_options_of_the_other_preset_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="paper"):
        methods_named([f"personaagent:{name}"], TASK)


async def test_it_learns_online_by_remembering(maya: LampUser, resources: Resources) -> None:
    program, _ = await prepared(PersonaAgentMethod(without="alignment"), maya, resources)
    grown = LampUser("maya", (*maya.history, *maya.questions), ())
    assert await PersonaAgentMethod(without="alignment").learn(program, grown, resources) is program
    assert "q1" in {past.interaction_id for past in program.memory.history()}


def test_ablations_and_sweeps_are_methods() -> None:
    assert ABLATIONS[0] == "personaagent"
    assert "personaagent:without=votes" in ABLATIONS
    assert swept(["n=1,3", "k=8"]) == ("personaagent:n=1", "personaagent", "personaagent:k=8")
    for wrong in ("n=", "n=0", "m=3", "n", "k=1.5"):
        with pytest.raises(InputError, match="write it as n=1,3,5"):
            swept([wrong])
