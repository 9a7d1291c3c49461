"""Tools of the lean preset, over real HTTP: an LM that can call functions is offered them, and uses one if it wants."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import dspy
import pytest

from personaagent.data.interaction import Interaction
from personaagent.data.store import User
from personaagent.data.task import OPEN, Task
from personaagent.lms import open_lm
from personaagent.programs import PersonaAgent
from personaagent.testing import in_memory_store

from ..loopback import Asked, Loopback, Reply, loopback


def weather(city: str) -> str:
    """Return the weather of a city."""
    return f"rain in {city}"


def broken(city: str) -> str:
    """Return the weather of a city."""
    raise ConnectionError(city)


def calls(*wanted: tuple[str, dict[str, Any]]) -> Reply:
    """Return a reply that asks for tools, as OpenAI writes it."""
    said = [
        {"id": f"call_{place}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for place, (name, arguments) in enumerate(wanted)
    ]
    message = {"role": "assistant", "content": None, "tool_calls": said}
    body = {
        "id": "made-up",
        "object": "chat.completion",
        "created": 0,
        "model": "made-up",
        "choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }
    return Reply(body=json.dumps(body).encode())


def wanting(*wanted: tuple[str, dict[str, Any]]) -> Callable[[Asked], Reply]:
    """Ask for these tools where tools are offered, and answer where they are not."""
    return lambda request: calls(*wanted) if "tools" in request.body else Reply('{"response": "Take an umbrella."}')


@pytest.fixture
def user() -> Iterator[User]:
    with in_memory_store() as store:
        maya = store.add_user("maya")
        maya.interactions.add(
            [Interaction(interaction_id="1", query="A walk?", ground_truth="Only in the sun", at=datetime.now(UTC))]
        )
        yield maya


def asked(user: User, up: Loopback, *tools: Callable[[str], str], task: Task = OPEN) -> dspy.Prediction:
    agent = PersonaAgent(task, user.memory, tools=[dspy.Tool(tool) for tool in tools])
    with dspy.context(lm=open_lm("openai/made-up", api_base=up.url)):
        return agent(query="What do I wear in Oslo?")


def test_a_tool_that_the_lm_asks_for_is_used_and_answers_the_question(user: User) -> None:
    with loopback(wanting(("weather", {"city": "Oslo"}))) as up:
        answered = asked(user, up, weather)
    first, second = up.received
    assert [tool["function"]["name"] for tool in first["tools"]] == ["search_memory", "look_up_profile", "weather"]
    assert "tools" not in second
    assert "rain in Oslo" in second["messages"][-1]["content"]
    [action] = answered.trajectory
    assert (action.tool, action.arguments, action.failed) == ("weather", {"city": "Oslo"}, False)
    assert (answered.response, answered.spend.calls) == ("Take an umbrella.", 2)


def test_an_lm_that_asks_for_none_answers_in_the_one_call(user: User) -> None:
    with loopback(lambda _: Reply('{"response": "A coat."}')) as up:
        answered = asked(user, up, weather)
    assert (len(up.received), answered.response, answered.trajectory) == (1, "A coat.", ())


def test_a_tool_that_fails_or_is_not_there_is_an_observation(user: User) -> None:
    with loopback(wanting(("broken", {"city": "Oslo"}), ("nothing", {}), ("broken", {"town": 1}))) as up:
        answered = asked(user, up, broken)
    assert [action.failed for action in answered.trajectory] == [True, True, True]
    assert answered.response == "Take an umbrella."
    assert "Traceback" not in up.received[1]["messages"][-1]["content"]


def test_a_server_that_refuses_tools_answers_without(user: User) -> None:
    refusing = Reply(status=400)
    with loopback(lambda request: refusing if "tools" in request.body else Reply('{"response": "A coat."}')) as up:
        assert asked(user, up, weather).response == "A coat."
    assert len(up.received) == 2


def test_no_tools_are_offered_where_none_were_given_or_the_answer_is_a_label(user: User) -> None:
    label = Task(name="made up", kind="label", labels=("coat", "umbrella"))
    with loopback() as up:
        asked(user, up)
        asked(user, up, weather, task=label)
    assert all("tools" not in body for body in up.received)
