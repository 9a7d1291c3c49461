"""Tools of one's own: what is refused, and when."""

from collections.abc import Callable
from typing import Any

import dspy
import pytest

from personaagent.data.errors import InputError
from personaagent.programs.tools.own import own_tools, tools_named


def opening_hours(place: str, day: int = 1) -> str:
    """Look up when a made-up place is open."""
    return f"{place}: 9 to {day}"


def search_memory(search: str) -> str:
    """Search another memory."""
    return search


def without_docstring(place: str) -> str:
    return place


def without_type(place: str) -> str:
    """Look up a place."""
    return place


def of_unknown_type(place: str) -> str:
    """Look up a place."""
    return place


del without_type.__annotations__["place"]
of_unknown_type.__annotations__["place"] = "Nowhere"


def of_any_arguments(*places: str) -> str:
    """Look up places."""
    return " ".join(places)


def test_a_function_is_a_tool_by_its_name_docstring_and_types() -> None:
    [tool] = own_tools([opening_hours])
    assert (tool.name, tool.desc) == ("opening_hours", "Look up when a made-up place is open.")
    assert tool.args == {"place": {"type": "string"}, "day": {"type": "integer", "default": 1}}


def test_a_tool_of_dspy_stays_what_it_is() -> None:
    tool = dspy.Tool(opening_hours, name="hours")
    assert own_tools([tool]) == (tool,)


@pytest.mark.parametrize(
    ("tools", "problem"),
    [
        ([without_docstring], "tool 'without_docstring' has no docstring"),
        ([without_type], "argument 'place' has no type: write place: str"),
        ([of_unknown_type], "has a type that an LM cannot write: .*Nowhere"),
        ([of_any_arguments], "takes any number of arguments"),
        ([search_memory], "tool 'search_memory': the agent has a tool of this name"),
        ([opening_hours, opening_hours], "two tools have one name"),
        (["opening_hours"], "is no function"),
        ([dict], "is no function"),
    ],
)
def test_what_is_no_tool_is_refused_at_once(tools: list[Callable[..., Any]], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        own_tools(tools)


def test_a_tool_that_cannot_be_imported_is_named() -> None:
    with pytest.raises(InputError, match="tool 'made_up_nowhere:hours': there is no module"):
        tools_named(["made_up_nowhere:hours"])
