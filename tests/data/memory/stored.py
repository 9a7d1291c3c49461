"""What the store has of one user, for an index that is tested without a store."""

from personaagent.data.interaction import Interaction
from personaagent.data.memory.rows import Mark, mark_of


class Stored:
    """The user's interactions, and how often they were read."""

    def __init__(self, *interactions: Interaction) -> None:
        self.interactions, self.reads = list(interactions), 0

    @property
    def mark(self) -> Mark:
        return mark_of(self.interactions)

    def all(self) -> tuple[Interaction, ...]:
        self.reads += 1
        return tuple(self.interactions)
