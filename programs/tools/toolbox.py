"""The tools at hand: what each is for, and how one is used."""

import asyncio
import contextvars
import inspect
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import dspy

from ...data.errors import InputError
from ...data.nouns import Noun
from ...data.statement import Episode, Memory
from ...data.task import Task
from ..quoting import quoted_block, quoted_interactions, quoted_texts

TOOL_TIMEOUT_SECONDS = 15.0
OF_MEMORY = frozenset({"search_memory", "look_up_profile"})
"""The names of the tools over a user's memory; see `memory_tools`."""


class ToolFailure(RuntimeError):
    """Raised by a tool to tell the agent, in one sentence that may stand in a prompt, why it has no result."""


class Action(Noun):
    """One tool use and what came of it."""

    tool: str
    arguments: dict[str, Any]
    observation: str
    """What the tool returned, quoted and bounded, or one sentence saying why it returned nothing."""
    failed: bool = False

    @property
    def written(self) -> str:
        """How a prompt shows it: the call and what it returned."""
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.tool}({arguments}) returned:\n{self.observation}"


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
    def names(self) -> tuple[str, ...]:
        """The tools' names, in order."""
        return tuple(self._tools)

    @property
    def description(self) -> str:
        """One line for each tool: its name, its arguments and what it is for."""
        return "\n".join(
            f"{name}({', '.join(tool.args)}): {' '.join((tool.desc or '').split())}"
            for name, tool in self._tools.items()
        )

    @property
    def tools(self) -> list[dspy.Tool]:
        """The tools, in order."""
        return list(self._tools.values())

    def __call__(self, tool: str, argument: str) -> Action:
        """Use a tool whose arguments were written as text; see `use`.

        Args:
            tool: One of `names`.
            argument: The value of its only argument, or a JSON object of its arguments.
        """
        try:
            arguments = self._arguments(tool, argument)
        except ToolFailure as failure:
            return _action(tool, {}, failure)
        return self.use(tool, arguments)

    def use(self, tool: str, arguments: dict[str, Any]) -> Action:
        """Use a tool in a worker thread and return what came of it, a failure and a timeout included.

        A tool that is a coroutine function runs in an event loop of its own.
        """
        if tool not in self._tools:
            return _action(tool, arguments, ToolFailure(f"there is no such tool; there are {', '.join(self.names)}"))
        pool = ThreadPoolExecutor(max_workers=1)
        work = pool.submit(contextvars.copy_context().run, used, self._tools[tool], arguments)
        pool.shutdown(wait=False)
        try:
            outcome = work.exception(timeout=TOOL_TIMEOUT_SECONDS) or work.result()
        except TimeoutError as late:
            outcome = late
        return _action(tool, arguments, outcome)

    def _arguments(self, name: str, argument: str) -> dict[str, Any]:
        wanted = self._tools[name].args or {}
        if not wanted:
            return {}
        if len(wanted) == 1 and next(iter(wanted.values())).get("type") == "string":
            return dict.fromkeys(wanted, argument)
        try:
            given = json.loads(argument)
        except ValueError:
            given = None
        if not isinstance(given, dict) or not wanted.keys() >= given.keys():
            raise ToolFailure(f"it takes a JSON object with {', '.join(wanted)}")
        return cast("dict[str, Any]", given)


def used(tool: dspy.Tool, arguments: dict[str, Any]) -> object:
    """Return what a tool returns; one that is a coroutine function runs in an event loop of its own."""
    if inspect.iscoroutinefunction(tool.func):
        return asyncio.run(asyncio.wait_for(tool.acall(**arguments), TOOL_TIMEOUT_SECONDS))
    return tool(**arguments)


def _action(name: str, arguments: dict[str, Any], outcome: object) -> Action:
    if isinstance(outcome, BaseException):
        return Action(tool=name, arguments=arguments, observation=_failure(name, outcome), failed=True)
    return Action(tool=name, arguments=arguments, observation=quoted_block(str(outcome) or "nothing found"))


def _failure(name: str, error: BaseException) -> str:
    """Say what went wrong without a traceback or a path: only a tool's own words for a known failure are repeated."""
    if isinstance(error, TimeoutError):
        return f"{name} did not answer in {TOOL_TIMEOUT_SECONDS:.0f} seconds"
    if isinstance(error, ToolFailure):
        return f"{name} failed: {error}"
    return f"{name} failed ({type(error).__name__})"


def memory_tools(memory: Memory, task: Task, k: int, known: Sequence[Episode] = ()) -> list[dspy.Tool]:
    """Return the tools `search_memory` and `look_up_profile` over one user's memory."""
    seen = {episode.interaction.interaction_id for episode in known}

    def search_memory(search: str) -> str:
        """Find further past interactions of this user that are near in meaning to a few search words."""
        found = [episode.interaction for episode in memory.recall(search, k + len(seen))]
        new = [interaction for interaction in found if interaction.interaction_id not in seen]
        return quoted_interactions(new[:k], task)

    def look_up_profile() -> str:
        """Read what is known about this user from all past interactions."""
        return quoted_texts(statement.text for statement in memory.statements())

    return [dspy.Tool(search_memory), dspy.Tool(look_up_profile)]
