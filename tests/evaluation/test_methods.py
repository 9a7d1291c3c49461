from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dspy
import pytest

from personaagent.data.answer_weights import uniform
from personaagent.data.errors import InputError, UnknownNameError
from personaagent.data.lamp import LampData, task_named
from personaagent.data.store import user_key
from personaagent.evaluation import METHODS, PersonaAgentMethod, RagMethod, Resources, methods_named
from personaagent.evaluation.agent_methods import OptimizerMethod
from personaagent.programs.baselines.membank import MemBank
from personaagent.programs.baselines.prompted import Icl, Pag, Prompt, Rag
from personaagent.programs.baselines.react import React
from personaagent.programs.baselines.voting import Knn, Majority
from personaagent.programs.baselines.weighed import Habits
from personaagent.testing import ScriptedLM

from .conftest import TASK, made_up_user


@pytest.mark.parametrize(
    "name",
    [
        *(kind for kind in METHODS if kind != "mipro"),
        "rag:k=8",
        "rag:k=1,retriever=dense",
        "personaagent:without=memory,n=5",
    ],
)
def test_a_method_goes_by_the_name_that_it_is_asked_for_by(name: str) -> None:
    [method] = methods_named([name], TASK)
    assert method.name == name


def test_methods_come_in_the_order_asked_for() -> None:
    assert [method.kind for method in methods_named(["rag", "majority", "prompt"], TASK)] == [
        "rag",
        "majority",
        "prompt",
    ]


def test_options_that_are_as_usual_are_not_in_the_name() -> None:
    [method] = methods_named(["rag:k=4,retriever=bm25"], TASK)
    assert method.name == RagMethod().name == "rag"


def test_an_unknown_method_shows_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="unknown method 'rug': use one of majority"):
        methods_named(["rug"], TASK)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("rag:size=4", "option 'size': .* rag takes weights=none, k=4, retriever=bm25"),
        ("rag:k=0", "option 'k': .* greater than or equal to 1"),
        ("rag:k", "option 'k'"),
        ("rag:kk=4", r"option 'kk': there is no such option; rag takes .*; did you mean 'k'\?$"),
        ("prompt:k=4", "prompt takes weights=none"),
        ("majority:k=4", "majority takes no options"),
        ("gepa:calls=2", "option 'calls': .* greater than or equal to 8"),
        ("personaagent:without=hope", "option 'without': .*'alignment', 'persona', .*'memory' or 'action'"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(name: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        methods_named([name], TASK)


@pytest.mark.parametrize("task", ["LaMP-4", "LaMP-7"])
def test_majority_does_no_text(task: str) -> None:
    with pytest.raises(InputError, match=f"method majority answers with labels or ratings, but {task} asks for text"):
        methods_named(["majority"], task_named(task))


async def test_each_baseline_prepares_its_program_and_answers(data: LampData) -> None:
    answers = {"summary": "likes old films", "response": "classic"}
    finish = {"thought": "it is old", "action": "finish", "argument": "classic"}
    of_the_agent = (PersonaAgentMethod, OptimizerMethod)
    baselines = [kind for kind, method in METHODS.items() if not issubclass(method, of_the_agent)]
    with Resources(TASK) as resources, dspy.context(lm=ScriptedLM({**answers, **finish})):
        resources.base_rates = {user_key(data.users[0].user_id): uniform(TASK.labels)}
        programs = [await method.prepare(data.users[0], resources) for method in methods_named(baselines, TASK)]
        responses = [(await program.acall(query=TASK.query("q1"))).response for program in programs]
    assert [type(program) for program in programs] == [
        *(Majority, Habits, Habits, Knn, Prompt, Icl, Rag, Pag, React, MemBank)
    ]
    answered = dict(zip(baselines, responses, strict=True))
    assert answered.pop("votes") in TASK.labels
    assert set(answered.values()) == {"classic"}


@pytest.mark.parametrize(("name", "keeps_all"), [("membank:k=1,forgetting=off", True), ("membank:k=1", False)])
async def test_whether_a_memory_bank_forgets_is_an_option(name: str, keeps_all: bool) -> None:
    tags = ("classic", "classic", "comedy", "action", "classic")
    maya = made_up_user("maya", {"q1": "comedy"}, tags)
    at = datetime(2020, 1, 1, tzinfo=UTC)
    dated = [past.model_copy(update={"at": at + timedelta(days=90 * place)}) for place, past in enumerate(maya.history)]
    [method] = methods_named([name], TASK)
    with Resources(TASK) as resources, dspy.context(lm=ScriptedLM({"summary": ""})):
        program = await method.prepare(replace(maya, history=tuple(dated)), resources)
    assert isinstance(program, MemBank)
    assert (len(program.bank.pieces) == len(tags)) is keeps_all
