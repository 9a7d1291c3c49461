"""One user's memory: episodes by meaning, and statements. Masked, it is what it was when an interaction began."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from ..errors import InputError
from ..interaction import SAID, Interaction, normalised
from ..nouns import Handle
from ..statement import Episode, Statement
from ..task import task_or_open
from ..texts import letter_likeness
from .chroma_index import EpisodeIndex
from .counts import count_answers
from .nearest import Match
from .rows import content_of, shows

if TYPE_CHECKING:
    from ..store import InteractionLog, StatementLog


class UserMemory(Handle):
    """The `Memory` of one stored user: read from the store, searched through the index.

    What the user stated (task `said`) is not in it: that stands in the persona. It shows this user and no other.

    Raises:
        StorageError: Of all methods: the store or the index cannot be read or written.
    """

    def __init__(
        self,
        interactions: "InteractionLog",
        statements: "StatementLog",
        key: str,
        index: EpisodeIndex,
        *,
        masks: tuple[Interaction, ...] = (),
    ) -> None:
        self._interactions, self._statements, self._index, self._masks = interactions, statements, index, masks
        self.user_key = key
        """The user's key; see `store.user_key`."""

    def history(self) -> tuple[Interaction, ...]:
        """Return the visible interactions, oldest first."""
        return tuple(interaction for interaction in self._interactions.all() if shows(interaction, self._masks))

    def recall(self, query: str, k: int) -> tuple[Episode, ...]:
        """Return at most `k` visible interactions, best first; of equally good ones the newer first.

        Those that ask the same as `query` are the best. Where the embedder has no words for these texts, they are
        compared by their letters (`letter_likeness`) instead of their meaning.

        Args:
            query: What to look for. Interactions are found by what their query is about, so pass a query without the
                fixed words of its task (`task.content(query)`).
            k: How many, 0 or more.

        Raises:
            InputError: `k` is negative.
        """
        if k < 0:
            raise InputError(f"cannot recall k={k}: k is 0 or more")
        self._index.heal(self.user_key, self._interactions)
        return self._best_first(query, self._matches(query, k))[:k] if k else ()

    def statements(self) -> tuple[Statement, ...]:
        """Return the newest statement of each topic whose whole evidence is visible.

        Counts are those of the visible history. Masked, another topic shows its newest statement from before; one
        without evidence is hidden, since it is not known from when it is.
        """
        visible = [
            _without_words(interaction) for interaction in self._interactions.each() if shows(interaction, self._masks)
        ]
        counts = count_answers(visible, visible[-1].moment[0]) if visible else ()
        counted = {statement.topic for statement in counts}
        seen = frozenset(interaction.interaction_id for interaction in visible)
        others = [
            self._newest_visible(statement, seen)
            for statement in self._statements.current()
            if statement.topic not in counted
        ]
        return (*filter(None, others), *counts)

    def said(self) -> tuple[Interaction, ...]:
        """Return what the user stated, oldest first."""
        return tuple(interaction for interaction in self._interactions.each() if interaction.task == SAID)

    def likeness(self, text: str, others: Sequence[str]) -> list[float]:
        """Return how near each of `others` is to `text` in meaning: the cosine of their vectors, -1 to 1."""
        return self._index.likeness(text, others)

    def before(self, interaction: Interaction) -> "UserMemory":
        """Return the memory as it was when `interaction` began.

        Visible is what is visible here, happened before it (`Interaction.precedes`: date, then position), does not have
        its id, and does not ask the same in other case or spacing. The interaction need not be stored.
        """
        masks = (*self._masks, interaction)
        return UserMemory(self._interactions, self._statements, self.user_key, self._index, masks=masks)

    def rebuild(self) -> None:
        """Embed the user's whole history anew, as after a change that the index cannot notice by itself."""
        self._index.remove(self.user_key)
        self._index.heal(self.user_key, self._interactions)

    def _matches(self, query: str, k: int) -> list[Match]:
        def by_letters() -> list[Match]:
            visible = self.history()
            similarities = letter_likeness(query, [content_of(interaction) for interaction in visible])
            return [
                Match(interaction.interaction_id, similarity)
                for interaction, similarity in zip(visible, similarities, strict=True)
            ]

        return self._index.search(self.user_key, query, k, before=self._masks, otherwise=by_letters)

    def _best_first(self, query: str, matches: Sequence[Match]) -> tuple[Episode, ...]:
        asked = normalised(query)

        def rank(episode: Episode) -> tuple[bool, float, tuple[datetime, int]]:
            content = content_of(episode.interaction)
            return normalised(content) == asked, episode.similarity, episode.interaction.moment

        return tuple(sorted(self._episodes(matches), key=rank, reverse=True))

    def _episodes(self, matches: Sequence[Match]) -> list[Episode]:
        # An interaction may have been forgotten by another thread since the search.
        stored = self._interactions.among([match.interaction_id for match in matches])
        return [
            Episode(interaction=stored[match.interaction_id], similarity=match.similarity)
            for match in matches
            if match.interaction_id in stored and shows(stored[match.interaction_id], self._masks)
        ]

    def _newest_visible(self, current: Statement, seen: frozenset[str]) -> Statement | None:
        if not self._masks or _rests_on(seen, current):
            return current
        older = reversed(self._statements.history(current.topic))
        return next((statement for statement in older if _rests_on(seen, statement)), None)


def _rests_on(seen: frozenset[str], statement: Statement) -> bool:
    return bool(statement.evidence) and seen.issuperset(statement.evidence)


def _without_words(interaction: Interaction) -> Interaction:
    """Return what a count needs of an interaction."""
    is_text = task_or_open(interaction.task).kind == "text"
    truth = None if is_text else interaction.ground_truth
    return interaction.model_copy(update={"query": "", "response": None, "metadata": {}, "ground_truth": truth})
