"""PersonaAgent: recall, tool use and answer, all speaking under one user's persona (arXiv 2506.06254)."""

import copy
from collections.abc import Iterable, Sequence
from typing import Any, Self

import dspy
from pydantic import Field, ValidationError

from ..data.alignment import Alignment
from ..data.errors import InputError
from ..data.interaction import Interaction
from ..data.nouns import Noun
from ..data.persona import Persona
from ..data.statement import Episode, Memory
from ..data.task import Task
from .module import Module
from .quoting import quoted_interactions, quoted_texts
from .recall_memory import RecallMemory
from .respond import Respond
from .speaking import SpeakingModule
from .tool_use import ToolUse
from .tools.memory_tools import memory_tools
from .tools.toolbox import Toolbox
from .tools.wikipedia import wikipedia_tool

_WORDS_AT_A_GLANCE = 6
"""Words of each recalled interaction that the choice of a tool sees; the answer sees more."""


class AgentSettings(Noun):
    """How an agent works, whoever it works for."""

    k: int = Field(default=4, ge=1)
    """Episodes recalled for a query; a memory search by the tool adds half as many."""
    min_tools: int = Field(default=2, ge=1)
    """Tools that must be used before an answer (paper: at least two); recall is the first of them."""
    max_steps: int = Field(default=1, ge=1)
    """Choices of a tool after recall, at most. More suit an LM that can drive a longer loop; each costs a call."""
    memory: bool = True
    """Whether episodes are recalled and tools may look into the user's memory (paper: ablation "without memory")."""
    action: bool = True
    """Whether tools are used (paper: ablation "without action")."""


class PersonaAgent(Module):
    """A program that answers as one user would want, because every instruction it gives an LM is that user's persona.

    A copy (`deepcopy`) shares the memory and the tools and owns its persona and predictors. Its state is JSON
    (`save`/`load`): the persona and the instructions, never an LM, a key or a memory.

    Args:
        task: What is asked and in which form the answer comes.
        memory: What the program may see of its user.
        persona: The persona to speak under; by default an empty one.
        version: The number under which the persona is recorded, if it is.
        tools: Tools beside the user's own memory; by default Wikipedia.
        settings: How many episodes, tools and steps.

    Example:
        >>> agent = PersonaAgent(task, store.user("maya").memory)
        >>> with dspy.context(lm=open_lm("embedded")):
        ...     agent(query="Which tag does this movie relate to ...").response
        'classic'
    """

    alignment: Alignment
    """How it was aligned; only a program that `PersonaAlignment` compiled has one."""

    def __init__(
        self,
        task: Task,
        memory: Memory,
        *,
        persona: Persona | None = None,
        version: int | None = None,
        tools: Sequence[dspy.Tool] | None = None,
        settings: AgentSettings | None = None,
    ) -> None:
        super().__init__()
        self.task, self.memory = task, memory
        self.settings = settings or AgentSettings()
        self.tools = [wikipedia_tool()] if tools is None else list(tools)
        self.recall_memory = RecallMemory(self.settings.k)
        self.tool_use = ToolUse(self._toolbox(), self.settings.min_tools - 1, self.settings.max_steps)
        self.respond = Respond(task)
        self.speak_under(persona or Persona(), version)

    def speak_under(self, persona: Persona, version: int | None = None) -> None:
        """Give every module the instructions of `persona`, recorded as `version` or not recorded yet (None)."""
        self.persona, self.persona_version = persona, version
        for module in self._speakers():
            module.speak_under(persona)

    def as_of(self, interaction: Interaction) -> "PersonaAgent":
        """Return this agent as it would have met `interaction`: its memory and tools see only what came before."""
        agent = self.deepcopy()
        agent.memory = self.memory.before(interaction)
        return agent

    def forward(self, *, query: str) -> dspy.Prediction:
        """Recall, use tools, respond.

        Returns:
            A prediction with `response` (str), `episodes`, `trajectory`, `persona_version` and `spend`.

        Raises:
            AnswerError: The LM's final answer is not in the task's form.
            LMError: The LM failed.
        """
        subject = self.task.content(query)
        recalled = self._recall(subject)
        used = self._act(subject, recalled.episodes)
        interactions = quoted_interactions(_interactions(recalled.episodes), self.task)
        answered = self.respond(query=query, interactions=interactions, observations=used.observations)
        return dspy.Prediction(
            response=answered.response,
            episodes=recalled.episodes,
            trajectory=used.trajectory,
            persona_version=self.persona_version,
        )

    def _recall(self, subject: str) -> dspy.Prediction:
        if not self.settings.memory:
            return dspy.Prediction(episodes=())
        return self.recall_memory(query=subject, memory=self.memory)

    def _act(self, subject: str, episodes: Sequence[Episode]) -> dspy.Prediction:
        if not self.settings.action:
            return dspy.Prediction(trajectory=(), observations=quoted_texts(()))
        glance = quoted_interactions(_interactions(episodes), self.task, most=_WORDS_AT_A_GLANCE)
        return self.tool_use(query=subject, known=glance, toolbox=self._toolbox(episodes))

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        """Return the persona and what DSPy saves of each predictor."""
        persona = self.persona.model_dump(mode="json")
        return {"persona": persona, "persona_version": self.persona_version, **super().dump_state(json_mode)}

    def load_state(self, state: dict[str, Any], *, allow_unsafe_lm_state: bool = False) -> None:
        """Take over a state that `dump_state` returned; one that does not fit leaves this program as it was.

        Raises:
            InputError: The state is not one of a `PersonaAgent`.
        """
        trial = self.deepcopy()
        try:
            trial.speak_under(Persona.model_validate(state["persona"]), state["persona_version"])
            predictors = {name: value for name, value in state.items() if not name.startswith("persona")}
            for module in trial._speakers():
                module.predict.signature = module.base
            super(PersonaAgent, trial).load_state(predictors, allow_unsafe_lm_state=allow_unsafe_lm_state)
        except (KeyError, TypeError, ValidationError) as error:
            raise InputError(f"this is not the saved state of a PersonaAgent: {error}") from error
        self.__dict__.update(trial.__dict__)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copy what is learnt; share the memory, which is a right to see, and the tools."""
        twin = copy.copy(self)
        memo[id(self)] = twin
        for name in ("recall_memory", "tool_use", "respond"):
            setattr(twin, name, copy.deepcopy(getattr(self, name), memo))
        return twin

    def _speakers(self) -> Iterable[SpeakingModule]:
        return (self.recall_memory, self.tool_use, self.respond)

    def _toolbox(self, known: Sequence[Episode] = ()) -> Toolbox:
        own = memory_tools(self.memory, self.task, -(-self.settings.k // 2), known) if self.settings.memory else ()
        return Toolbox([*own, *self.tools])


def _interactions(episodes: Sequence[Episode]) -> list[Interaction]:
    return [episode.interaction for episode in episodes]
