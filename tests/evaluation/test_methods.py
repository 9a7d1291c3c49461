from functools import partial

import pytest

from personaagent.data.errors import InputError, UnknownNameError
from personaagent.data.lamp import LampData, task_named
from personaagent.evaluation import METHODS, MajorityMethod, RagMethod, methods_named
from personaagent.programs.baselines.majority import Majority
from personaagent.programs.baselines.prompt import Prompt
from personaagent.programs.baselines.rag import Rag

from .conftest import TASK, ToldMethod


def test_methods_come_by_name_in_the_order_asked_for() -> None:
    assert [method.name for method in methods_named(["rag", "majority", "prompt"], TASK)] == [
        "rag",
        "majority",
        "prompt",
    ]
    assert [method.name for method in methods_named(list(METHODS), TASK)] == list(METHODS)


def test_other_methods_may_be_added_and_replace_those_of_the_same_name() -> None:
    others = {"told": lambda _: ToldMethod(lambda _: None), "rag": partial(RagMethod, k=8)}
    told, rag = methods_named(["told", "rag"], TASK, others)
    assert isinstance(told, ToldMethod)
    assert isinstance(rag, RagMethod)
    assert rag.k == 8


def test_an_unknown_method_shows_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="unknown method 'rug': use one of majority, prompt, rag"):
        methods_named(["rug"], TASK)


@pytest.mark.parametrize("task", ["LaMP-4", "LaMP-7"])
def test_majority_does_no_text(task: str) -> None:
    with pytest.raises(InputError, match=f"method majority answers with labels or ratings, but {task} asks for text"):
        MajorityMethod(task_named(task))


async def test_each_method_prepares_its_program(data: LampData) -> None:
    programs = [await method.prepare(data.users[0]) for method in methods_named(["majority", "prompt", "rag"], TASK)]
    assert [type(program) for program in programs] == [Majority, Prompt, Rag]
