"""The whole system as a method: memory, persona, aligned with the latest interactions, then the questions."""

import asyncio

from ..alignment import align, live_persona, program
from ..data.lamp import LampUser
from ..data.store import Store
from ..data.task import Task
from ..optimizers import PersonaAlignment
from ..programs import PersonaAgent


class PersonaAgentMethod:
    """PersonaAgent, aligned with the latest n interactions of each user's history (paper: n=3, E=1).

    A user whose history holds no ground truth (LaMP-1, LaMP-7) is answered under the first persona.

    Args:
        task: What is asked and in which form the answer comes.
        store: Where the users of this evaluation live; not a store of real users.
        n: Interactions in an alignment batch.
    """

    name = "personaagent"

    def __init__(self, task: Task, store: Store, n: int = 3) -> None:
        self.task, self.store, self.n = task, store, n

    async def prepare(self, user: LampUser) -> PersonaAgent:
        """Remember the history, make the first persona, align it."""
        return await asyncio.to_thread(self._program, user)

    def _program(self, user: LampUser) -> PersonaAgent:
        handle = self.store.add_user(user.user_id)
        handle.interactions.add(user.history)
        if any(one.ground_truth is not None for one in user.history):
            align(handle, PersonaAlignment(n=self.n))
        return program(handle, live_persona(handle), self.task)
