"""The tools at hand: the type of an action, and how one is carried out."""

import asyncio
import contextvars
import inspect
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial, reduce
from operator import or_
from typing import Any, Literal

import dspy
from pydantic import BaseModel, create_model

from ...data.errors import InputError
from ...data.nouns import Noun
from ..quoting import quoted

TOOL_TIMEOUT_SECONDS = 15.0


class Action(Noun):
    """One tool use and what came of it."""

    tool: str
    arguments: dict[str, Any]
    observation: str
    """What the tool returned, quoted and bounded; or one sentence saying why it returned nothing."""
    failed: bool = False


class Toolbox:
    """Tools by name. Nothing that a tool does can end the program: a failure is an observation.

    Args:
        tools: The tools. None of them takes a user id: whatever it may see of a user is bound into it.

    Raises:
        InputError: Two tools have the same name.
    """

    def __init__(self, tools: Sequence[dspy.Tool]) -> None:
        self._tools = {tool.name: tool for tool in tools}
        if len(self._tools) != len(tools):
            names = [tool.name for tool in tools]
            raise InputError(f"two tools have one name, rename one of: {', '.join(sorted(names))}")

    @property
    def action_type(self) -> Any:
        """The union of one model a tool, for the LM's schema: `tool` is its name, the rest are its arguments."""
        return reduce(or_, map(_action_model, self._tools.values()))

    def __call__(self, action: BaseModel) -> Action:
        """Carry out `action` in a worker thread and return what came of it, a failure and a timeout included."""
        name, arguments = _name_and_arguments(action)
        pool = ThreadPoolExecutor(max_workers=1)
        work = pool.submit(contextvars.copy_context().run, partial(self._tools[name], **arguments))
        pool.shutdown(wait=False)
        try:
            outcome = work.exception(timeout=TOOL_TIMEOUT_SECONDS) or work.result()
        except TimeoutError as late:
            outcome = late
        return _action(name, arguments, outcome)

    async def acall(self, action: BaseModel) -> Action:
        """Carry out `action` as `__call__` does, awaiting a tool that is a coroutine function (an MCP tool, say)."""
        name, arguments = _name_and_arguments(action)
        tool = self._tools[name]
        is_async = inspect.iscoroutinefunction(tool.func)
        work = tool.acall(**arguments) if is_async else asyncio.to_thread(tool, **arguments)
        [outcome] = await asyncio.gather(asyncio.wait_for(work, TOOL_TIMEOUT_SECONDS), return_exceptions=True)
        return _action(name, arguments, outcome)


def _name_and_arguments(action: BaseModel) -> tuple[str, dict[str, Any]]:
    arguments = action.model_dump()
    return arguments.pop("tool"), arguments


def _action(name: str, arguments: dict[str, Any], outcome: object) -> Action:
    if isinstance(outcome, BaseException):
        return Action(tool=name, arguments=arguments, observation=_failure(name, outcome), failed=True)
    return Action(tool=name, arguments=arguments, observation=_readable(outcome))


def _action_model(tool: dspy.Tool) -> type[BaseModel]:
    types = {name: kind for name, kind in (tool.arg_types or {}).items() if name != "return"}
    fields: dict[str, Any] = {"tool": (Literal[tool.name], ...)} | {name: (kind, ...) for name, kind in types.items()}
    return create_model(tool.name, __doc__=tool.desc, **fields)


def _failure(name: str, error: BaseException) -> str:
    """Say what went wrong without a traceback or a path: only a tool's own words for a known failure are repeated."""
    if isinstance(error, TimeoutError):
        return f"{name} did not answer in {TOOL_TIMEOUT_SECONDS:.0f} seconds"
    if isinstance(error, ToolFailure):
        return f"{name} failed: {error}"
    return f"{name} failed ({type(error).__name__})"


class ToolFailure(RuntimeError):
    """Raised by a tool to tell the agent, in one sentence that may stand in a prompt, why it has no result."""


def _readable(result: object) -> str:
    if isinstance(result, str):
        return result or "nothing found"
    return quoted(str(result))
