"""PersonaAgent: recall, tool use and answer, all speaking under one user's persona (arXiv 2506.06254)."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Literal, Self

import dspy
from dspy.experimental import Choice
from pydantic import Field, JsonValue, ValidationError
from pydantic_core import to_jsonable_python

from ..data.alignment import Alignment
from ..data.answer_weights import AnswerWeights, Distribution
from ..data.change import Decision
from ..data.errors import InputError
from ..data.interaction import Interaction
from ..data.nouns import Noun
from ..data.persona import Adopted, Persona, Section
from ..data.statement import Episode, Memory
from ..data.task import OPEN, Task
from ..signatures import AnswerAsUser, AnswerForUser
from .context import NO_CONTEXT, Context
from .module import Module, SpeakingModule
from .quoting import dated_interactions, quoted_interactions, quoted_texts
from .recall import Recall, RecallMemory
from .respond import Respond
from .tool_use import ToolUse
from .tools.toolbox import Toolbox, memory_tools
from .tools.wikipedia import wikipedia_tool
from .weighing import decided, serves, weighed

Preset = Literal["lean", "paper"]


class AgentSettings(Noun):
    """How an agent works; the same for every user."""

    preset: Preset = "lean"
    """`lean`: recall without an LM, then one call. `paper`: three modules that each ask the LM, tools included."""
    k: int = Field(default=4, ge=1)
    """Episodes recalled for a query; in the paper, a memory search by the tool adds half as many."""
    min_tools: int = Field(default=2, ge=1)
    """Paper only: tools that must be used before an answer (at least two); recall is the first of them."""
    max_steps: int = Field(default=1, ge=1)
    """Paper only: choices of a tool after recall, at most; each costs a call. Small LMs drive no long loop."""
    memory: bool = True
    """Whether episodes are recalled and tools may look into the user's memory (paper: ablation "without memory")."""
    action: bool = True
    """Paper only: whether tools are used (ablation "without action")."""
    lines: bool = True
    """Whether the persona's lines stand in the instructions."""
    weights: bool = True
    """Whether answers are weighed, if the persona has answer weights. The paper has none."""
    votes: bool = True
    """Whether the user's memory votes among them."""

    @property
    def form(self) -> str:
        """What the prompts hold, by name: answer weights of one form do not suit another."""
        return f"{self.preset}:k={self.k if self.memory else 0}"


ACTED_ON: tuple[Section, ...] = ("profile", "preferences", "style")
"""Sections that the one call of the lean preset can act on."""
_WORDS_AT_A_GLANCE = 6
"""Words of each recalled interaction that the choice of a tool sees; the answer sees more."""


class PersonaAgent(Module):
    """A program that answers as one user would want, because every instruction it gives an LM is that user's persona.

    A copy (`deepcopy`) shares the memory and the tools and owns its persona and predictors. Its state is JSON
    (`save`/`load`): the persona and the instructions, never an LM, a key or a memory.

    Args:
        task: What is asked and in which form the answer comes.
        memory: What the program may see of its user.
        persona: The persona to speak under; by default an empty one.
        version: The number under which the persona is recorded, if it is.
        tools: Tools beside the user's own memory; by default none, in the paper Wikipedia. The lean preset offers them
            for answers in text, to LMs that can call functions.
        settings: How many episodes, tools and steps.

    Example:
        >>> agent = PersonaAgent(task, store.user("maya").memory)
        >>> with dspy.context(lm=open_lm("embedded")):
        ...     agent(query="Which tag does this movie relate to ...").response
        'classic'
    """

    alignment: Alignment
    """How it was aligned; only a program that `PersonaAlignment` compiled has one."""
    decisions: tuple[Decision, ...] = ()
    """What earlier alignments decided: changes in the shadow are scored further, live ones are watched."""

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
        paper = self.settings.preset == "paper"
        self.recall_memory = RecallMemory(self.settings.k) if paper else Recall(self.settings.k)
        default = [wikipedia_tool()] if paper else []
        self.tools = default if tools is None else list(tools)
        steps = (self.settings.min_tools - 1, self.settings.max_steps)
        self.tool_use = ToolUse(self._toolbox(), *steps) if paper and self.settings.action else None
        self.respond = Respond(task, decides=False) if paper else Respond(task, _asking(task), ACTED_ON)
        self.speak_under(persona or Persona(), version)

    def speak_under(self, persona: Persona, version: int | None = None) -> None:
        """Give every module the instructions of `persona`, recorded as `version` or not recorded yet (None)."""
        self.persona, self.persona_version = persona, version
        spoken = persona if self.settings.lines else persona.model_copy(update={"lines": ()})
        for module in self._speakers():
            module.speak_under(spoken)
        weights = self._weights
        fits = weights is not None and self.respond.decides and set(weights.base_rate) == set(self.task.labels)
        self.respond.predict.fields = {"response": {"weights": weights.multipliers}} if weights and fits else {}
        adopted = persona.adopted
        if adopted is not None and (adopted.task, adopted.preset) == (self.task.name, self.settings.preset):
            self._adopt(adopted, spoken)

    def learnt(self, origin: str) -> Adopted | None:
        """Return what an optimizer wrote into the predictors; None if they are as the persona makes them."""
        untouched = self.reset_copy()
        untouched.speak_under(self.persona.model_copy(update={"adopted": None}))
        own = dict(untouched.named_predictors())
        found = {name: written_into(predictor, own[name]) for name, predictor in self.named_predictors()}
        predictors = {name: state for name, state in found.items() if state}
        if not predictors:
            return None
        return Adopted(
            origin=origin,
            task=self.task.name,
            preset=self.settings.preset,
            predictors=predictors,
            line_ids=tuple(line.line_id for line in self.persona.lines),
        )

    def as_of(self, interaction: Interaction) -> "PersonaAgent":
        """Return this agent as it would have met `interaction`: its memory and tools see only what came before."""
        agent = self.deepcopy()
        agent.memory = self.memory.before(interaction)
        return agent

    def without_memory(self) -> "PersonaAgent":
        """Return this agent as it answers from the persona alone."""
        return PersonaAgent(
            self.task,
            self.memory,
            persona=self.persona,
            version=self.persona_version,
            tools=self.tools,
            settings=self.settings.model_copy(update={"memory": False}),
        )

    def forward(self, *, query: str, context: Context = NO_CONTEXT) -> dspy.Prediction:
        """Recall, act, respond, and weigh the answer.

        Args:
            query: What is asked.
            context: What was said before it, and the form that the answer must have beside that of the task.

        Returns:
            A prediction with `response` (str), `probabilities` and `lm_probabilities` by answer (None of a text),
            `experts` (what each said, if answers are weighed), `episodes`, `trajectory`, `persona_version` and `spend`.

        Raises:
            AnswerError: The LM's final answer is not in the task's form.
            LMError: The LM failed.
        """
        subject = self.task.content(query)
        recalled = self._recall(subject)
        used = self._act(subject, recalled.episodes)
        answered = self._respond(query, context, recalled.episodes, used.observations)
        found = self._weighed(answered, recalled.get("answered", ()))
        return dspy.Prediction(
            response=found.response,
            probabilities=found.probabilities,
            experts=found.get("experts"),
            lm_probabilities=answered.lm_probabilities,
            episodes=recalled.episodes,
            trajectory=(*used.trajectory, *answered.trajectory),
            persona_version=self.persona_version,
        )

    def _recall(self, subject: str) -> dspy.Prediction:
        if not self.settings.memory:
            return dspy.Prediction(episodes=(), answered=())
        return self.recall_memory(query=subject, memory=self.memory)

    def _act(self, subject: str, episodes: Sequence[Episode]) -> dspy.Prediction:
        if self.tool_use is None:
            return dspy.Prediction(trajectory=(), observations=quoted_texts(()))
        glance = quoted_interactions(_interactions(episodes), self.task, most=_WORDS_AT_A_GLANCE)
        return self.tool_use(query=subject, known=glance, toolbox=self._toolbox(episodes))

    def _respond(self, query: str, context: Context, episodes: Sequence[Episode], observations: str) -> dspy.Prediction:
        interactions = _interactions(episodes)
        if self.settings.preset == "lean":
            past, toolbox = dated_interactions(interactions, self.task), self._toolbox(episodes) if self.tools else None
            return self.respond(past=past, query=self.task.content(query), toolbox=toolbox, context=context)
        quoted = quoted_interactions(interactions, self.task)
        return self.respond(query=query, interactions=quoted, observations=observations, context=context)

    def weigh(self, *, query: str, lm_probabilities: Distribution) -> dspy.Prediction:
        """Return the answer that this agent makes of what the LM says of each answer to `query`; no LM is asked."""
        recalled = self._recall(self.task.content(query))
        found = decided(self.task, lm_probabilities, self.respond.multipliers)
        answered = dspy.Prediction(**found._asdict(), lm_probabilities=lm_probabilities)
        return self._weighed(answered, recalled.answered)

    def _weighed(self, answered: dspy.Prediction, past: Sequence[Episode]) -> dspy.Prediction:
        """Return the answer after weighing, if the persona has weights that were made for this LM."""
        weights = self._weights
        if answered.lm_probabilities is None or weights is None:
            return answered
        factors = self.respond.multipliers
        if serves(weights, self.task, self.respond.lm.model):
            found = weighed(self.task, answered.lm_probabilities, weights, past, factors)
        else:
            others = {} if factors == weights.multipliers else factors
            found = decided(self.task, answered.lm_probabilities, others)
        return dspy.Prediction(**found._asdict())

    @property
    def _weights(self) -> AnswerWeights | None:
        """The persona's answer weights, as far as the settings let them count."""
        weights = self.persona.weights if self.settings.weights else None
        return weights if weights is None or self.settings.votes else weights.model_copy(update={"c": 0.0})

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

    def _adopt(self, adopted: Adopted, persona: Persona) -> None:
        """Let the predictors be as another optimizer left them; lines that it did not see follow its instructions."""
        later = Persona(lines=tuple(line for line in persona.lines if line.line_id not in adopted.line_ids))
        for module in self._speakers():
            state = adopted.predictors.get(self._name_of(module.predict), {})
            take_up(module.predict, state)
            if "signature" in state:
                module.add_lines(later)

    def _name_of(self, predictor: dspy.Predict) -> str:
        return next(name for name, known in self.named_predictors() if known is predictor)

    def _speakers(self) -> Iterable[SpeakingModule]:
        modules = (self.recall_memory, self.tool_use, self.respond)
        return (module for module in modules if isinstance(module, SpeakingModule))

    def _toolbox(self, known: Sequence[Episode] = ()) -> Toolbox:
        own = memory_tools(self.memory, self.task, -(-self.settings.k // 2), known) if self.settings.memory else ()
        return Toolbox([*own, *self.tools])


def _asking(task: Task) -> type[dspy.Signature]:
    return AnswerForUser if task == OPEN else _asking_with(task.template)


@cache
def _asking_with(template: str) -> type[dspy.Signature]:
    """Return the signature of an answer, with the fixed words of a task's questions, which so are said once."""
    if template == "{content}":
        return AnswerAsUser
    question = template.replace("{content}", "(query)")
    return AnswerAsUser.with_instructions(f"{AnswerAsUser.instructions}\n\nThe question: {question}")


def _interactions(episodes: Sequence[Episode]) -> list[Interaction]:
    return [episode.interaction for episode in episodes]


def written_into(predictor: dspy.Predict, own: dspy.Predict) -> dict[str, JsonValue]:
    """Return what of a predictor differs."""
    state: dict[str, Any] = {}
    if not predictor.signature.equals(own.signature):
        state["signature"] = predictor.signature.dump_state()
    if demos := [shown for demo in predictor.demos if (shown := _shown(demo, predictor.signature))]:
        state["demos"] = demos
    if predictor.fields != own.fields:
        state["fields"] = copy.deepcopy(predictor.fields)
    return state


def take_up(predictor: dspy.Predict, state: Mapping[str, Any]) -> None:
    """Make a predictor as it was when `written_into` returned `state`."""
    if "signature" in state:
        predictor.signature = predictor.signature.load_state(state["signature"])
    predictor.demos = copy.deepcopy(state.get("demos", []))
    predictor.fields = copy.deepcopy(state.get("fields", predictor.fields))


def _shown(demo: Any, signature: type[dspy.Signature]) -> dict[str, JsonValue]:
    """Return the fields of a demo that the prompt shows; nothing of one without an answer, which is not shown."""
    fields = {name: demo[name] for name in signature.fields if name in demo}
    if not fields.keys() & signature.output_fields.keys():
        return {}
    plain = {name: value.value if isinstance(value, Choice) else value for name, value in fields.items()}
    return to_jsonable_python(plain)
