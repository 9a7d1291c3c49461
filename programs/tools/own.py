"""Tools of one's own: Python functions and `dspy.Tool`s."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import dspy
from pydantic import PydanticSchemaGenerationError

from ...data.errors import InputError
from ...data.own import own
from .toolbox import OF_MEMORY, Toolbox

OwnTool: TypeAlias = Callable[..., Any] | dspy.Tool
"""A function with a docstring, which tells the LM what it is for, and a type for each argument; or a `dspy.Tool`."""


def own_tools(given: Iterable[OwnTool]) -> tuple[dspy.Tool, ...]:
    """Return tools of one's own as an agent takes them.

    A tool gets what the LM writes, never a user's id.

    Raises:
        InputError: One is no function, lacks its docstring or a type, or has the name of another tool.

    Example:
        >>> def opening_hours(place: str) -> str:
        ...     "Look up when a place is open."
        >>> own_tools([opening_hours])[0].name
        'opening_hours'
    """
    tools = tuple(tool if isinstance(tool, dspy.Tool) else _tool_of(tool) for tool in given)
    if taken := OF_MEMORY.intersection(Toolbox(tools).names):
        raise InputError(f"tool {min(taken)!r}: the agent has a tool of this name, rename yours")
    return tools


def tools_named(names: Iterable[str]) -> tuple[dspy.Tool, ...]:
    """Import functions by name (`my_module:my_tool`, see `own`) as tools; otherwise as `own_tools`."""
    return own_tools(own("tool", name) for name in names)


def _tool_of(function: Callable[..., Any]) -> dspy.Tool:
    name = getattr(function, "__name__", None)
    if not callable(function) or inspect.isclass(function) or name is None:
        raise InputError(f"tool {function!r} is no function: give a function, or a dspy.Tool")
    if not inspect.getdoc(function):
        raise InputError(f"tool {name!r} has no docstring: write one, it tells the LM what the tool is for")
    for argument in inspect.signature(function).parameters.values():
        if argument.kind in {argument.VAR_POSITIONAL, argument.VAR_KEYWORD}:
            raise InputError(f"tool {name!r} takes any number of arguments: name each, with its type")
        if argument.annotation is argument.empty:
            raise InputError(f"tool {name!r}: argument {argument.name!r} has no type: write {argument.name}: str, say")
    try:
        return dspy.Tool(function)
    except (NameError, PydanticSchemaGenerationError) as error:
        raise InputError(f"tool {name!r}: an argument has a type that an LM cannot write: {error}") from error
