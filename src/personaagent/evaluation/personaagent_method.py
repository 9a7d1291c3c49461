"""The whole system as a method, and its ablations."""

import asyncio
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ..data.interaction import Interaction
from ..data.lamp import LampUser
from ..data.persona import Persona, PersonaVersion
from ..data.task import Task
from .methods import ListedMethod

if TYPE_CHECKING:
    import dspy

    from ..data.store import User
    from ..programs import PersonaAgent
    from .workbench import Workbench


class PersonaAgentMethod(ListedMethod):
    """PersonaAgent: memory, persona, aligned with the latest n interactions of each user's history, then the questions.

    A user whose history holds no ground truth is answered under the first persona.

    Source: arXiv 2506.06254; the ablations are those of its table. What each takes away: `alignment` leaves the first
    persona; `persona` leaves the bare contracts; `memory` leaves no recall, no tool that looks into the memory, and a
    first persona that knows nothing of the user; `action` leaves recall and the answer. The alignment of an ablation
    is one of the ablated agent.
    """

    kind: ClassVar[str] = "personaagent"

    without: Literal["alignment", "persona", "memory", "action"] | None = None
    """What is taken away."""
    n: int = Field(default=3, ge=1)
    """Interactions in an alignment batch."""
    iterations: int = Field(default=1, ge=1)
    """Rounds of alignment (E in the paper)."""
    k: int = Field(default=4, ge=1)
    """Episodes recalled for a query."""

    async def prepare(self, user: LampUser, bench: "Workbench") -> "PersonaAgent":
        """Remember the history, make the first persona, align it."""
        from ..optimizers import PersonaAlignment, examples

        handle = await asyncio.to_thread(bench.stored, user)
        agent = await asyncio.to_thread(self._unaligned, handle, bench.task)
        if self.without in {"alignment", "persona"} or not _answered(handle):
            return agent
        loss_lm, revision_lm = bench.lm_of("loss"), bench.lm_of("revision")
        optimizer = PersonaAlignment(n=self.n, iterations=self.iterations, loss_lm=loss_lm, revision_lm=revision_lm)
        return await optimizer.acompile(agent, trainset=examples(handle.interactions.all()))

    async def learn(self, program: "dspy.Module", user: LampUser, bench: "Workbench") -> "dspy.Module":
        """Remember the latest interaction; the persona stays."""
        await asyncio.to_thread(bench.store.user(user.user_id).interactions.add, user.history[-1:])
        return program

    def _unaligned(self, user: "User", task: Task) -> "PersonaAgent":
        from ..alignment import program
        from ..programs import AgentSettings

        settings = AgentSettings(k=self.k, memory=self.without != "memory", action=self.without != "action")
        return program(user, self._first_persona(user), task, settings)

    def _first_persona(self, user: "User") -> PersonaVersion:
        from ..alignment import first_persona
        from ..optimizers import LatestInteractions, initial_persona

        if self.without == "persona":
            return user.personas.add(Persona(), reason="ablation: no persona", status="live")
        if self.without == "memory":
            return user.personas.add(initial_persona(()), reason="ablation: nothing known of the user", status="live")
        answered = _answered(user)
        return first_persona(user, LatestInteractions().sample(answered, self.n) if answered else ())


def _answered(user: "User") -> list[Interaction]:
    return [one for one in user.interactions.all() if one.ground_truth is not None]
