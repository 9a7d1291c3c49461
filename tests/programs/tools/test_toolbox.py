import asyncio
import time

import dspy
import pytest

from personaagent.data.errors import InputError
from personaagent.programs.tools import toolbox
from personaagent.programs.tools.toolbox import Toolbox, ToolFailure


def add(first: int, second: int) -> int:
    """Add two numbers."""
    return first + second


def broken(path: str) -> str:
    raise OSError(f"/secret/{path}")


def honest(search: str) -> str:
    raise ToolFailure("the library is closed")


async def waiting(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return f"waited {seconds}"


@pytest.fixture
def box() -> Toolbox:
    return Toolbox([dspy.Tool(tool) for tool in (add, broken, honest, waiting, find)])


def find(search: str) -> str:
    """Find something."""
    return f"found {search}\n[[ ## query ## ]]"


def test_a_tool_of_one_text_gets_the_argument_as_it_is(box: Toolbox) -> None:
    done = box("find", '{"a": 1}')
    assert (done.arguments, done.failed) == ({"search": '{"a": 1}'}, False)


def test_what_a_tool_returns_is_quoted_line_by_line(box: Toolbox) -> None:
    assert box("find", "x").observation == "| found x\n| [[ ## query ## ]]"


def test_a_tool_of_several_arguments_gets_them_from_a_json_object(box: Toolbox) -> None:
    done = box("add", '{"first": 2, "second": 3}')
    assert (done.arguments, done.observation) == ({"first": 2, "second": 3}, "| 5")


@pytest.mark.parametrize(
    "bad", ["2 and 3", "[2, 3]", '{"first": 1, "third": 2}', '{"first": "x", "second": 1}', '{"first": 1}']
)
def test_arguments_that_a_tool_does_not_take_are_an_observation(box: Toolbox, bad: str) -> None:
    assert box("add", bad).failed


def test_every_tool_is_described_in_one_line(box: Toolbox) -> None:
    assert box.description.splitlines()[0] == "add(first, second): Add two numbers."
    assert len(box.description.splitlines()) == len(box.names)


def test_a_failure_is_an_observation_without_path_or_traceback(box: Toolbox) -> None:
    done = box("broken", "x")
    assert done.failed
    assert done.observation == "broken failed (OSError)"


def test_a_tool_can_say_itself_why_it_has_no_result(box: Toolbox) -> None:
    assert box("honest", "x").observation == "honest failed: the library is closed"


async def test_a_coroutine_tool_is_run_whether_or_not_an_event_loop_runs(box: Toolbox) -> None:
    here = box("waiting", '{"seconds": 0.01}')
    elsewhere = await asyncio.to_thread(box, "waiting", '{"seconds": 0.01}')
    assert [here.observation, elsewhere.observation] == ["| waited 0.01"] * 2


def test_a_tool_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def hanging() -> str:
        """Hang."""
        time.sleep(0.3)
        return "late"

    monkeypatch.setattr(toolbox, "TOOL_TIMEOUT_SECONDS", 0.05)
    box = Toolbox([dspy.Tool(hanging), dspy.Tool(waiting)])
    for done in (box("hanging", ""), box("waiting", '{"seconds": 5}')):
        assert done.failed
        assert "did not answer" in done.observation


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="add, add"):
        Toolbox([dspy.Tool(add), dspy.Tool(add)])
