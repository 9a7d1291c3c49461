import pytest

from personaagent.data.errors import InputError, UnknownNameError
from personaagent.data.lamp import LampData, task_named
from personaagent.evaluation import METHODS, RagMethod, Workbench, methods_named
from personaagent.programs.baselines.majority import Majority
from personaagent.programs.baselines.prompt import Prompt
from personaagent.programs.baselines.rag import Rag

from .conftest import TASK


@pytest.mark.parametrize("name", [*METHODS, "rag:k=8", "rag:k=1,retriever=dense", "personaagent:without=memory,n=5"])
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
        ("rag:size=4", "option 'size': .* rag takes k=4, retriever=bm25"),
        ("rag:k=0", "option 'k': .* greater than or equal to 1"),
        ("rag:k", "option 'k'"),
        ("prompt:k=4", "prompt takes no options"),
        ("personaagent:without=hope", "option 'without': .*'alignment', 'persona', 'memory' or 'action'"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(name: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        methods_named([name], TASK)


@pytest.mark.parametrize("task", ["LaMP-4", "LaMP-7"])
def test_majority_does_no_text(task: str) -> None:
    with pytest.raises(InputError, match=f"method majority answers with labels or ratings, but {task} asks for text"):
        methods_named(["majority"], task_named(task))


async def test_each_method_prepares_its_program(data: LampData) -> None:
    with Workbench(TASK) as bench:
        methods = methods_named(["majority", "prompt", "rag"], TASK)
        programs = [await method.prepare(data.users[0], bench) for method in methods]
    assert [type(program) for program in programs] == [Majority, Prompt, Rag]
