"""One user's memory: episodes by meaning, and statements. Masked, it is what it was when an interaction began."""

from datetime import datetime
from typing import Protocol, Self

from ..errors import InputError
from ..interaction import Interaction, normalised
from ..statement import Episode, Statement
from .chroma_index import EpisodeIndex, Match, StoredInteractions
from .statements import StatementRecord, derive_statements, says_the_same


class InteractionRecord(StoredInteractions, Protocol):
    """One user's interactions in the store."""

    def get(self, interaction_id: str) -> Interaction:
        """Return one interaction.

        Raises:
            InputError: There is none of this id.
        """
        ...


class UserMemory:
    """The `Memory` of one stored user: read from the store, searched through the index.

    Whoever holds it may see this user and nobody else. Copies of it are itself.

    Args:
        interactions: The user's interactions in the store.
        statements: The user's statements in the store.
        key: The name under which the index has the user.
        index: Finds interactions by meaning.
    """

    def __init__(
        self, interactions: InteractionRecord, statements: StatementRecord, key: str, index: EpisodeIndex
    ) -> None:
        self._interactions, self._statements, self._key, self._index = interactions, statements, key, index
        self._masks: tuple[Interaction, ...] = ()

    def history(self) -> tuple[Interaction, ...]:
        """Return the visible interactions, oldest first."""
        return tuple(one for one in self._interactions.all() if self._shows(one))

    def recall(self, query: str, k: int, recency_weight: float = 0.0) -> tuple[Episode, ...]:
        """Return at most `k` visible interactions, best first; of equally good ones the newer first.

        Args:
            query: What to look for: a query without the fixed words of its task's template (`task.content(query)`),
                since that is what interactions are found by.
            k: How many, 0 or more.
            recency_weight: 0 to 1. How good an interaction is: `(1 - w) * similarity + w * recency`, where recency is
                its place in the visible history, from 1/n for the oldest to 1 for the newest. So 0 goes by meaning
                alone, and 1 gives the newest, newest first.

        Raises:
            InputError: `k` or `recency_weight` is out of its range.
            StorageError: The store or the index cannot be read.
        """
        if k < 0 or not 0 <= recency_weight <= 1:
            raise InputError(f"cannot recall k={k} with recency_weight={recency_weight}: k >= 0, weight 0 to 1")
        if k == 0:
            return ()
        self.refresh()
        if recency_weight == 0:
            return self._nearest(query, k)
        return self._nearest_and_newest(query, k, recency_weight)

    def statements(self) -> tuple[Statement, ...]:
        """Return the newest statement of each topic whose whole evidence is visible.

        Counts are those of the visible history, whether they have been stored yet or not. Masked, a topic shows its
        newest statement from before, and a statement without evidence is hidden: nobody can say when it was known.
        """
        visible = self.history()
        counts = {one.topic: one for one in derive_statements(visible, _as_of(visible))}
        ids = frozenset(one.interaction_id for one in visible)
        found: dict[str, Statement] = {}
        for newest in self._statements.current():
            ...

    def before(self, interaction: Interaction) -> "UserMemory":
        """Return the memory as it was when `interaction` began.

        Visible is what is visible here, happened before it (`Interaction.precedes`: date, then position), does not have
        its id, and does not ask the same in other case or spacing. The interaction need not be stored.
        """
        masked = UserMemory(self._interactions, self._statements, self._key, self._index)
        masked._masks = (*self._masks, interaction)
        return masked
