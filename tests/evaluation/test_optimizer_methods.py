"""DSPy's own optimizers as methods: what they may see, what they may spend, and that their programs answer."""

import sys
from collections.abc import Iterator
from importlib.util import find_spec

import dspy
import pytest

from personaagent.data.errors import InputError, SetupError
from personaagent.data.lamp import LampData, LampUser, task_named
from personaagent.data.task import Task
from personaagent.evaluation import (
    BootstrapMethod,
    GepaMethod,
    ListedMethod,
    ReAnchorMethod,
    Workbench,
    evaluate,
    methods_named,
)
from personaagent.evaluation.engine import LocalEngine
from personaagent.evaluation.optimizer_methods import score
from personaagent.programs import PersonaAgent
from personaagent.programs.spend import measure
from personaagent.testing import ScriptedLM, ScriptedRequest, in_memory_store

from .conftest import TASK, MemoryBench, made_up_user

TAGS = ("classic", "comedy", "classic", "action", "classic", "classic", "comedy", "classic", "action", "classic")
REWRITTEN = "Answer as this user tags films."
METHODS = (BootstrapMethod(), GepaMethod(), ReAnchorMethod())
each_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.kind)


@pytest.fixture
def bench() -> Iterator[Workbench]:
    with in_memory_store() as store:
        yield MemoryBench(TASK, store)


@pytest.fixture
def maya() -> LampUser:
    return made_up_user("maya", {"q1": "classic", "q2": "comedy"}, TAGS)


def answers(request: ScriptedRequest) -> dict[str, str]:
    """Answer every question with one tag, and what an optimizer asks with one instruction."""
    return {name: "classic" if name == "response" else REWRITTEN for name in request.outputs_wanted}


async def compiled(method: ListedMethod, user: LampUser, bench: Workbench) -> tuple[PersonaAgent, ScriptedLM]:
    lm = ScriptedLM(answers)
    with dspy.context(lm=lm):
        program = await method.prepare(user, bench)
    assert isinstance(program, PersonaAgent)
    return program, lm


@each_method
async def test_the_compiled_program_answers(method: ListedMethod, maya: LampUser, bench: Workbench) -> None:
    program, _ = await compiled(method, maya, bench)
    with dspy.context(lm=ScriptedLM(answers)):
        assert program(query=TASK.query("q1")).response == "classic"


@each_method
async def test_explore(method, maya, bench, capfd) -> None:
    with measure() as meter:
        program, lm = await compiled(method, maya, bench)
    out = capfd.readouterr()
    import sys
    with capfd.disabled():
        print(method.kind, len(lm.requests), meter.spend.calls, repr(out)[:300])
        p = program.respond.predict
        print(p.demos, p.fields, p.signature.instructions[:200])
        for r in lm.requests[:12]: print("-----", r.outputs_wanted, r.user[-300:])
