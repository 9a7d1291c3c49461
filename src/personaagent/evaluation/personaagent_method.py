"""The whole system as a method, and its ablations."""

import asyncio
from typing import ClassVar, Literal

import dspy
from pydantic import Field

from ..alignment import Certified, equipped
from ..data.errors import InputError
from ..data.interaction import Interaction
from ..data.lamp import LampUser
from ..data.persona import Persona, PersonaVersion
from ..data.store import User, user_key
from ..data.task import Task
from ..optimizers import PersonaAlignment, examples, initial_persona, latest
from ..personas import first_persona, program
from ..programs import AgentSettings, PersonaAgent
from .methods import WeighedMethod
from .resources import Resources


class PersonaAgentMethod(WeighedMethod):
    """PersonaAgent: memory and persona, aligned with each user's history, then the questions.

    What each ablation takes away: `alignment` leaves the first persona, with weights; `lines` leaves weights alone;
    `weights` leaves lines alone; `votes` leaves weights that do not ask memory; `memory` leaves neither examples nor
    votes; `persona` leaves neither lines nor weights; `action` (paper only) leaves recall and the answer. The alignment
    of an ablation is one of the ablated agent.

    Source: arXiv 2506.06254; `preset=paper` is its algorithm, with the ablations of its table.
    """

    kind: ClassVar[str] = "personaagent"
    weights: Literal["none", "user", "global"] = "user"
    without: Literal["alignment", "persona", "lines", "weights", "votes", "memory", "action"] | None = None
    """What is taken away."""
    preset: Literal["lean", "paper"] = "lean"
    """`paper`: three modules that ask the LM, and a whole rewrite that is always accepted."""
    n: int = Field(default=3, ge=1)
    """Interactions in an alignment batch."""
    iterations: int = Field(default=1, ge=1)
    """Paper only: rounds of alignment (E in the paper)."""
    k: int = Field(default=4, ge=1)
    """Episodes recalled for a query."""

    @property
    def form(self) -> str:
        """Names what the prompts hold."""
        return self._settings.form

    @property
    def is_weighed(self) -> bool:
        """Whether answers are weighed."""
        return self.preset == "lean" and self.weights != "none" and self.without not in {"weights", "persona"}

    @property
    def votes(self) -> bool:
        """Whether the user's memory votes."""
        return self.personal and self._settings.votes

    @property
    def _settings(self) -> AgentSettings:
        has_memory = self.without != "memory"
        return AgentSettings(
            preset=self.preset,
            k=self.k,
            memory=has_memory,
            action=self.without != "action",
            lines=self.without not in {"lines", "persona"},
            votes=has_memory and self.without != "votes",
        )

    def check(self, task: Task) -> None:
        """Refuse options that do not fit each other; a task that asks for text simply has no weights."""
        if self.preset == "lean" and (self.without == "action" or self.iterations != 1):
            raise InputError(f"method {self.name}: without=action and iterations are of the paper: add preset=paper")
        if self.preset == "paper" and self.without in {"lines", "weights", "votes"}:
            raise InputError(f"method {self.name}: the paper's persona has no {self.without} of its own to take away")

    async def prepare(self, user: LampUser, resources: Resources) -> PersonaAgent:
        """Remember the history, make the first persona, align it."""
        agent = await self._program(user, resources)
        if (weights := resources.weights.get(user_key(user.user_id))) is not None:
            agent.speak_under(agent.persona.model_copy(update={"weights": weights}))
        history = resources.stored(user).interactions.all()
        if self.without in {"alignment", "persona", "lines"} or all(past.ground_truth is None for past in history):
            return agent
        optimizer = PersonaAlignment(
            mode="paper" if self.preset == "paper" else "evidence",
            n=self.n,
            iterations=self.iterations,
            loss_lm=resources.lm_of("loss"),
            revision_lm=resources.lm_of("revision"),
        )
        return await equipped(optimizer, Certified(resources.certified)).acompile(agent, trainset=examples(history))

    async def learn(self, program: dspy.Module, user: LampUser, resources: Resources) -> dspy.Module:
        """Remember the latest interaction; the persona stays."""
        await asyncio.to_thread(resources.store.user(user.user_id).interactions.add, user.history[-1:])
        return program

    async def program_before(self, user: LampUser, interaction: Interaction, resources: Resources) -> PersonaAgent:
        """Return the program, without weights, as it would have met an interaction of the user's history."""
        return (await self._program(user, resources)).as_of(interaction)

    async def _program(self, user: LampUser, resources: Resources) -> PersonaAgent:
        return await asyncio.to_thread(lambda: self._first(resources.stored(user), resources.task))

    def _first(self, user: User, task: Task) -> PersonaAgent:
        return program(user, user.personas.live or self._first_version(user), task, self._settings)

    def _first_version(self, user: User) -> PersonaVersion:
        if self.without == "persona":
            return user.personas.add(Persona(), reason="ablation: no persona", status="live")
        if self.without == "memory" or self.is_weighed:
            reason = "nothing known of the user in words"
            return user.personas.add(initial_persona((), self.preset), reason=reason, status="live")
        answered = [past for past in user.interactions.all() if past.ground_truth is not None]
        return first_persona(user, latest(answered, self.n) if answered else (), self._settings)
