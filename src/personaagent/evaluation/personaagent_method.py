"""The whole system as a method, and its ablations."""

import asyncio
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ..data.errors import InputError
from ..data.interaction import Interaction
from ..data.lamp import LampUser
from ..data.persona import Persona, PersonaVersion
from ..data.store import user_key
from ..data.task import Task
from ..programs import AgentSettings
from .methods import WeighedMethod

if TYPE_CHECKING:
    import dspy

    from ..data.store import User
    from ..programs import PersonaAgent
    from .workbench import Workbench

Part = Literal["alignment", "persona", "lines", "weights", "votes", "memory", "action"]


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
    without: Part | None = None
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

    def check(self, task: Task) -> None:
        """Refuse options that do not fit each other; a task that asks for text simply has no weights.

        Raises:
            InputError: They do not.
        """
        if self.preset == "lean" and (self.without == "action" or self.iterations != 1):
            raise InputError(f"method {self.name}: without=action and iterations are of the paper: add preset=paper")
        if self.preset == "paper" and self.without in {"lines", "weights", "votes"}:
            raise InputError(f"method {self.name}: the paper's persona has no {self.without} of its own to take away")

    async def prepare(self, user: LampUser, bench: "Workbench") -> "PersonaAgent":
        """Remember the history, make the first persona, align it."""
        from ..optimizers import PersonaAlignment, examples
        from ..personas import Certified, equipped

        agent = await self.unweighed(user, bench)
        if (weights := bench.weights.get(user_key(user.user_id))) is not None:
            agent.speak_under(agent.persona.model_copy(update={"weights": weights}))
        history = bench.stored(user).interactions.all()
        if self.without in {"alignment", "persona", "lines"} or all(one.ground_truth is None for one in history):
            return agent
        optimizer = PersonaAlignment(
            mode="paper" if self.preset == "paper" else "evidence",
            n=self.n,
            iterations=self.iterations,
            loss_lm=bench.lm_of("loss"),
            revision_lm=bench.lm_of("revision"),
        )
        return await equipped(optimizer, Certified(bench.certified)).acompile(agent, trainset=examples(history))

    async def learn(self, program: "dspy.Module", user: LampUser, bench: "Workbench") -> "dspy.Module":
        """Remember the latest interaction; the persona stays."""
        await asyncio.to_thread(bench.store.user(user.user_id).interactions.add, user.history[-1:])
        return program

    async def unweighed(self, user: LampUser, bench: "Workbench") -> "PersonaAgent":
        """Remember the history, make the first persona."""
        return await asyncio.to_thread(lambda: self._first(bench.stored(user), bench.task))

    async def program_before(self, user: LampUser, interaction: Interaction, bench: "Workbench") -> "PersonaAgent":
        """Return the program, without weights, as it would have met an interaction of the user's history."""
        return (await self.unweighed(user, bench)).as_of(interaction)

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

    def _first(self, user: "User", task: Task) -> "PersonaAgent":
        from ..personas import program

        return program(user, user.personas.live or self._first_version(user), task, self._settings)

    def _first_version(self, user: "User") -> PersonaVersion:
        from ..optimizers import initial_persona, latest
        from ..personas import first_persona

        if self.without == "persona":
            return user.personas.add(Persona(), reason="ablation: no persona", status="live")
        if self.without == "memory" or self.is_weighed:
            reason = "nothing known of the user in words"
            return user.personas.add(initial_persona((), self.preset), reason=reason, status="live")
        answered = [one for one in user.interactions.all() if one.ground_truth is not None]
        return first_persona(user, latest(answered, self.n) if answered else (), self._settings)
