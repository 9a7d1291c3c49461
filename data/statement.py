"""What memory gives back: episodes recalled by meaning, and statements about the user with their evidence."""

from datetime import datetime
from typing import Protocol

from .interaction import Interaction
from .nouns import Noun


class Statement(Noun):
    """One sentence about a user, abstracted from interactions."""

    statement_id: str
    topic: str
    """What it is about; a newer statement on a topic replaces the older, which stays as history."""
    text: str
    evidence: tuple[str, ...]
    """Ids of the interactions that it was abstracted from."""
    at: datetime
    """When it was abstracted."""


class Episode(Noun):
    """One interaction, recalled."""

    interaction: Interaction
    similarity: float
    """Cosine between the query and the interaction's content, -1 to 1: of their meaning, or of their letters where the
    embedder has no words for them."""


class Memory(Protocol):
    """What a program may see of one user: the handle is the right to see it, there is no user id to pass."""

    @property
    def user_key(self) -> str:
        """Whose memory it is; see `store.user_key`."""
        ...

    def history(self) -> tuple[Interaction, ...]:
        """Return the visible interactions, oldest first."""
        ...

    def recall(self, query: str, k: int) -> tuple[Episode, ...]:
        """Return at most `k` visible interactions nearest in meaning to `query`, nearest first."""
        ...

    def statements(self) -> tuple[Statement, ...]:
        """Return the current statements whose whole evidence is visible."""
        ...

    def before(self, interaction: Interaction) -> "Memory":
        """Return the memory as it was when `interaction` began.

        It never shows the interaction itself, anything later, or an older interaction with the same normalised query
        (which would give the answer away).
        """
        ...
