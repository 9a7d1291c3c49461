"""DSPy's own optimizers as methods: what they may see, what they may spend, and that their programs answer."""

from importlib.util import find_spec

import dspy
import pytest

from personaagent.data.errors import InputError, SetupError
from personaagent.data.lamp import LampData, LampUser, task_named
from personaagent.evaluation import (
    BootstrapMethod,
    GepaMethod,
    ReAnchorMethod,
    Resources,
    evaluate,
    methods_named,
)
from personaagent.evaluation.agent_methods import OptimizerMethod, score
from personaagent.evaluation.run import LocalEngine
from personaagent.programs import PersonaAgent
from personaagent.programs.scope import measure
from personaagent.testing import ScriptedLM, ScriptedRequest, in_memory_store

from .conftest import TASK, InMemoryResources, made_up_user

TAGS = ("classic", "comedy", "classic", "action", "classic", "classic", "comedy", "classic", "action", "classic")
REWRITTEN = "Answer as this user tags films."
each_method = pytest.mark.parametrize(
    "method", [BootstrapMethod(), GepaMethod(), ReAnchorMethod()], ids=lambda method: method.kind
)


@pytest.fixture
def maya() -> LampUser:
    return made_up_user("maya", {"q1": "classic", "q2": "comedy"}, TAGS)


def truth(request: ScriptedRequest) -> str:
    """Return what the user answered to the film of a request; `classic` to a new one."""
    number = request.user.rpartition("Past film ")[2]
    return TAGS[int(number)] if number.isdecimal() else "classic"


def said(request: ScriptedRequest) -> dict[str, str]:
    """Answer one tag to everything, until the instructions are rewritten: then what the user answered."""
    tag = truth(request) if REWRITTEN in request.system else "classic"
    return {name: tag if name == "response" else REWRITTEN for name in request.outputs_wanted}


async def compiled(
    method: OptimizerMethod, user: LampUser, resources: Resources
) -> tuple[PersonaAgent, tuple[ScriptedRequest, ...]]:
    """Return the program, and what the LM was asked for it."""
    lm = ScriptedLM(said)
    with dspy.context(lm=lm):
        program = await method.prepare(user, resources)
    assert isinstance(program, PersonaAgent)
    return program, lm.requests


@each_method
async def test_the_compiled_program_answers_with_the_whole_memory(
    method: OptimizerMethod, maya: LampUser, resources: Resources
) -> None:
    program, _ = await compiled(method, maya, resources)
    with dspy.context(lm=ScriptedLM(said)):
        assert program(query=TASK.query("q1")).response == "classic"
    assert len(program.memory.history()) == len(TAGS)


@each_method
async def test_no_answer_of_the_trainset_can_be_seen_while_a_program_is_compiled(
    method: OptimizerMethod, maya: LampUser, resources: Resources
) -> None:
    program, requests = await compiled(method, maya, resources)
    asked = [request for request in requests if request.outputs_wanted == ("response",)]
    assert {request.user.rpartition("Past film ")[2] for request in asked} <= {"5", "6", "7", "8", "9"}
    for request in asked:
        past, _, _query = request.user.rpartition("[[ ## query ## ]]")
        assert not any(f"Past film {number}" in past for number in range(5, 10))
    assert program.persona.causes <= {f"maya-past-{number}" for number in range(5)}


@each_method
async def test_a_program_is_compiled_within_its_calls(
    method: OptimizerMethod, maya: LampUser, resources: Resources
) -> None:
    with measure() as meter:
        _, requests = await compiled(method.model_copy(update={"calls": 10}), maya, resources)
    an_iteration = 2 * 3 + 1 + 2  # GEPA ends the one that it began: two batches, a reflection, and the trainset
    assert 0 < meter.spend.calls == len(requests) <= 10 + (an_iteration if method.kind == "gepa" else 0)


@each_method
async def test_nothing_is_printed(
    method: OptimizerMethod, maya: LampUser, resources: Resources, capfd: pytest.CaptureFixture[str]
) -> None:
    await compiled(method, maya, resources)
    assert tuple(capfd.readouterr()) == ("", "")


@each_method
async def test_who_has_no_labels_is_answered_by_the_agent_as_it_is(
    method: OptimizerMethod, resources: Resources
) -> None:
    program, requests = await compiled(method, made_up_user("omar", {"q1": "action"}, ("comedy",)), resources)
    assert requests == ()
    assert not getattr(program, "_compiled", False)


@each_method
async def test_it_learns_online_by_remembering(method: OptimizerMethod, maya: LampUser, resources: Resources) -> None:
    program, _ = await compiled(method, maya, resources)
    grown = LampUser("maya", (*maya.history, *maya.questions[:1]), ())
    assert await method.learn(program, grown, resources) is program
    assert "q1" in {past.interaction_id for past in program.memory.history()}


async def test_gepa_keeps_instructions_that_answer_better(maya: LampUser, resources: Resources) -> None:
    program, requests = await compiled(GepaMethod(), maya, resources)
    assert program.respond.predict.signature.instructions == REWRITTEN
    [reflected, *_] = [request for request in requests if request.outputs_wanted != ("response",)]
    assert "The response was 'classic'; this user's own answer is" in reflected.user


async def test_bootstrap_shows_only_answers_that_were_right(maya: LampUser, resources: Resources) -> None:
    program, _ = await compiled(BootstrapMethod(), maya, resources)
    shown = [int(demo.query.rpartition(" ")[2]) for demo in program.respond.predict.demos]
    assert shown == [number for number in range(5, 10) if TAGS[number] == "classic"]
    lm = ScriptedLM(said)
    with dspy.context(lm=lm):
        program(query=TASK.query("q1"))
    assert [message.role for message in lm.requests[0].request.messages] == ["user", "assistant"] * 3 + ["user"]


async def test_repeated_decisions_of_reanchor_are_neither_made_nor_charged_again(
    maya: LampUser, resources: Resources
) -> None:
    with measure() as meter:
        _, requests = await compiled(ReAnchorMethod(), maya, resources)
    assert meter.spend.calls == len(requests) == 5


async def test_an_evaluation_has_a_row_for_each_question(maya: LampUser) -> None:
    with in_memory_store() as store, dspy.context(lm=ScriptedLM(said)):
        engine = LocalEngine(lambda task: InMemoryResources(task, store))
        result = await evaluate([BootstrapMethod()], LampData(TASK, (maya,)), engine=engine)
    assert [(row.status, row.prediction) for row in result.rows] == [("scored", "classic")] * 2
    assert [row.preparation and row.preparation.calls for row in result.rows] == [5, None]


@pytest.mark.parametrize(
    ("task", "response", "ground_truth", "expected"),
    [
        ("LaMP-2M", "comedy", "comedy", 1.0),
        ("LaMP-2M", "classic", "comedy", 0.0),
        ("LaMP-3", "2", "5", 0.25),
        ("LaMP-3", "no idea", "5", 0.0),
        ("LaMP-4", "goats win", "goats lose", 0.5),
        ("LaMP-4", None, "goats lose", 0.0),
    ],
)
def test_an_answer_is_scored_by_the_kind_of_its_task(
    task: str, response: str | None, ground_truth: str, expected: float
) -> None:
    example, prediction = dspy.Example(ground_truth=ground_truth), dspy.Prediction(response=response)
    assert score(task_named(task), example, prediction) == pytest.approx(expected)


def test_reanchor_does_no_text() -> None:
    with pytest.raises(InputError, match="method reanchor answers with labels or ratings, but LaMP-4 asks for text"):
        methods_named(["reanchor"], task_named("LaMP-4"))


@pytest.mark.skipif(find_spec("optuna") is not None, reason="optuna is installed")
def test_mipro_without_optuna_says_how_to_get_it() -> None:
    with pytest.raises(SetupError, match=r"pip install 'dspy\[optuna\]'"):
        methods_named(["mipro"], TASK)
