"""Methods of one's own: what makes a program for each user, and a saved agent as it stands."""

import asyncio
import inspect
import json
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, cast

import dspy

from ..data.errors import InputError
from ..data.lamp import LampUser
from ..data.own import own
from ..data.statement import Memory
from ..data.task import Task
from ..programs import AgentSettings, PersonaAgent
from ..programs.module import in_thread
from .agent_methods import PersonaAgentMethod
from .methods import ListedMethod
from .resources import Resources


class OwnMethod(ListedMethod):
    """A function, or a class of `dspy.Module`, that makes the program for a user's questions.

    It is called as `maker(history, task)`, once for each user. The history holds the user's past interactions, oldest
    first, with `query`, `ground_truth` and `at`. The program is called as `program(query=...)` for each question and
    returns a `dspy.Prediction` with a `response`: a text, or None for no answer. Its LM is the evaluation's.
    """

    kind: ClassVar[str] = "own"
    maker: str
    """`module:name`."""

    @property
    def name(self) -> str:
        """The maker's."""
        return self.maker

    def check(self, task: Task) -> None:
        """Refuse what cannot be imported, or be called as it is called."""
        maker = own("method", self.maker)
        if inspect.isclass(maker) and not issubclass(maker, dspy.Module):
            raise InputError(f"method {self.maker!r} is no dspy.Module: subclass it, or give a function that makes one")
        # A class of DSPy's hides the arguments of its constructor.
        called = vars(maker).get("__init__", maker.__init__) if inspect.isclass(maker) else maker
        try:
            inspect.signature(called).bind(*([None] if inspect.isclass(maker) else []), (), task)
        except TypeError as error:
            raise InputError(f"method {self.maker!r} is called as {self.maker}(history, task): {error}") from error

    async def _program(self, user: LampUser, resources: Resources) -> dspy.Module:
        made: Any = await in_thread(own("method", self.maker), user.history, resources.task)
        if not isinstance(made, dspy.Module):
            raise InputError(f"method {self.maker!r} makes a {type(made).__name__}: it must return a dspy.Module")
        return made


class ProgramMethod(ListedMethod):
    """A saved agent (`agent.save("program.json")`) as it stands: the same persona and instructions for every user.

    Each user has the memory of their own history.
    """

    kind: ClassVar[str] = "program"
    file: Path

    @property
    def name(self) -> str:
        """The file's."""
        return self.file.name

    def check(self, task: Task) -> None:
        """Refuse a file that is not the saved state of an agent for such a task."""
        self._agent(task, cast("Memory", None))

    async def learn(self, program: dspy.Module, user: LampUser, resources: Resources) -> dspy.Module:
        """Remember the latest interaction; the program stays."""
        return await PersonaAgentMethod().learn(program, user, resources)

    async def _program(self, user: LampUser, resources: Resources) -> PersonaAgent:
        stored = await asyncio.to_thread(resources.stored, user)
        return self._agent(resources.task, stored.memory)

    def _agent(self, task: Task, memory: Memory) -> PersonaAgent:
        preset = "paper" if "tool_use.predict" in self.state or "recall_memory.predict" in self.state else "lean"
        agent = PersonaAgent(task, memory, settings=AgentSettings(preset=preset))
        try:
            agent.load_state(self.state)
        except InputError as error:
            raise InputError(
                f"method {str(self.file)!r}: {error}; a program of another class needs a function of yours that loads "
                "it: --method module:function"
            ) from error
        return agent

    @cached_property
    def state(self) -> dict[str, Any]:
        """What the file holds."""
        try:
            state: object = json.loads(self.file.read_bytes())
        except OSError as error:
            raise InputError(f"method {str(self.file)!r}: cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise InputError(f"method {str(self.file)!r}: is not JSON: {error}") from error
        if not isinstance(state, dict):
            raise InputError(f"method {str(self.file)!r}: is no saved program, but a JSON {type(state).__name__}")
        return {name: value for name, value in cast("dict[str, Any]", state).items() if name != "metadata"}
