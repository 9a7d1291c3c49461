"""One user's memory: episodes by meaning, and statements. Masked, it is what it was when an interaction began."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol, Self

from ..errors import InputError
from ..interaction import SAID, Interaction, normalised
from ..statement import Episode, Statement
from ..tasks import task_or_open
from .chroma_index import EpisodeIndex
from .lexical import likeness
from .nearest import Match
from .rows import StoredInteractions, contents_of
from .statements import StoredStatements, derive_statements


class StoredHistory(StoredInteractions, Protocol):
    """One user's interactions in the store, which can be got by their ids."""

    def among(self, interaction_ids: Sequence[str]) -> Mapping[str, Interaction]:
        """Return those that have one of these ids, by id."""
        ...

    def each(self) -> Iterator[Interaction]:
        """Yield all of them, oldest first, without holding all of them in memory."""
        ...


class UserMemory:
    """The `Memory` of one stored user: read from the store, searched through the index.

    What the user stated (task `said`) is not in it: that stands in the persona.

    Whoever holds it may see this user and nobody else. Copies of it are itself.

    Args:
        interactions: The user's interactions in the store.
        statements: The user's statements in the store.
        key: The name under which the index has the user.
        index: Finds interactions by meaning.
        masks: The interactions before which it is seen; see `before`.
    """

    def __init__(
        self,
        interactions: StoredHistory,
        statements: StoredStatements,
        key: str,
        index: EpisodeIndex,
        *,
        masks: tuple[Interaction, ...] = (),
    ) -> None:
        self._interactions, self._statements, self._key, self._index = interactions, statements, key, index
        self._masks = masks

    @property
    def user_key(self) -> str:
        """Whose memory it is; see `store.user_key`."""
        return self._key

    def history(self) -> tuple[Interaction, ...]:
        """Return the visible interactions, oldest first."""
        return tuple(one for one in self._interactions.all() if self._shows(one))

    def recall(self, query: str, k: int, recency_weight: float = 0.0) -> tuple[Episode, ...]:
        """Return at most `k` visible interactions, best first; of equally good ones the newer first.

        Those that ask the same as `query` are the best. Where the embedder has no words for these texts, they are
        compared by their letters (`lexical.likeness`) instead of their meaning.

        Args:
            query: What to look for. Interactions are found by what their query is about, so pass a query without the
                fixed words of its task (`task.content(query)`).
            k: How many, 0 or more.
            recency_weight: w, 0 to 1. Best is what has the most of `(1 - w) * similarity + w * recency`, where recency
                is the place in the visible history, from 1/n for the oldest to 1 for the newest. So 0 goes by meaning
                alone, and 1 gives the newest, newest first.

        Raises:
            InputError: `k` or `recency_weight` is out of its range.
            StorageError: The store or the index cannot be read.
        """
        if k < 0 or not 0 <= recency_weight <= 1:
            raise InputError(f"cannot recall k={k}, recency_weight={recency_weight}: k is 0 or more, the weight 0 to 1")
        self._index.heal(self._key, self._interactions)
        if recency_weight:
            return self._nearest_and_newest(query, k, recency_weight)
        return self._best_first(query, self._matches(query, k))[:k] if k else ()

    def statements(self) -> tuple[Statement, ...]:
        """Return the newest statement of each topic whose whole evidence is visible.

        Counts are those of the visible history. Masked, another topic shows its newest statement from before; one
        without evidence is hidden, since nobody can say when it was known.
        """
        visible = [_without_words(one) for one in self._interactions.each() if self._shows(one)]
        current = {one.topic: one for one in self._statements.current()}
        counts = {one.topic: one for one in _counts(visible)}
        seen = frozenset(one.interaction_id for one in visible)
        others = (self._newest_visible(one, seen) for topic, one in current.items() if topic not in counts)
        return (*(one for one in others if one), *counts.values())

    def said(self) -> tuple[Interaction, ...]:
        """Return what the user stated, oldest first."""
        return tuple(one for one in self._interactions.each() if one.task == SAID)

    def likeness(self, text: str, others: Sequence[str]) -> list[float]:
        """Return how near each of `others` is to `text` in meaning: the cosine of their vectors, -1 to 1."""
        return self._index.likeness(text, others)

    def before(self, interaction: Interaction) -> "UserMemory":
        """Return the memory as it was when `interaction` began.

        Visible is what is visible here, happened before it (`Interaction.precedes`: date, then position), does not have
        its id, and does not ask the same in other case or spacing. The interaction need not be stored.
        """
        masks = (*self._masks, interaction)
        return UserMemory(self._interactions, self._statements, self._key, self._index, masks=masks)

    def rebuild(self) -> None:
        """Embed the user's whole history anew, as after a change that the index cannot notice by itself.

        Raises:
            StorageError: The store or the index cannot be read or written.
        """
        self._index.sync(self._key, (), ())
        self._index.heal(self._key, self._interactions)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def _shows(self, interaction: Interaction) -> bool:
        return interaction.task != SAID and all(
            interaction.precedes(mask)
            and interaction.interaction_id != mask.interaction_id
            and normalised(interaction.query) != normalised(mask.query)
            for mask in self._masks
        )

    def _nearest_and_newest(self, query: str, k: int, recency_weight: float) -> tuple[Episode, ...]:
        visible = self.history()
        if not visible:
            return ()
        similarity = {match.interaction_id: match.similarity for match in self._matches(query, len(visible))}
        scored = [
            ((1 - recency_weight) * similarity[one.interaction_id] + recency_weight * place / len(visible), place)
            for place, one in enumerate(visible, start=1)
            if one.interaction_id in similarity
        ]
        best = [visible[place - 1] for _, place in sorted(scored, reverse=True)[:k]]
        return tuple(Episode(interaction=one, similarity=similarity[one.interaction_id]) for one in best)

    def _matches(self, query: str, k: int) -> list[Match]:
        def by_letters() -> list[Match]:
            visible = self.history()
            similarities = likeness(query, contents_of(visible))
            return [Match(one.interaction_id, like) for one, like in zip(visible, similarities, strict=True)]

        return self._index.search(self._key, query, k, before=self._masks, otherwise=by_letters)

    def _best_first(self, query: str, matches: Sequence[Match]) -> tuple[Episode, ...]:
        asked = normalised(query)

        def rank(episode: Episode) -> tuple[bool, float, tuple[datetime, int]]:
            [content] = contents_of([episode.interaction])
            return normalised(content) == asked, episode.similarity, episode.interaction.moment

        return tuple(sorted(self._episodes(matches), key=rank, reverse=True))

    def _episodes(self, matches: Sequence[Match]) -> list[Episode]:
        # One may have been forgotten by another thread since the search.
        stored = self._interactions.among([match.interaction_id for match in matches])
        found = ((stored[one.interaction_id], one.similarity) for one in matches if one.interaction_id in stored)
        return [Episode(interaction=one, similarity=similarity) for one, similarity in found if self._shows(one)]

    def _newest_visible(self, current: Statement, seen: frozenset[str]) -> Statement | None:
        if not self._masks or _rests_on(seen, current):
            return current
        older = reversed(self._statements.history(current.topic))
        return next((one for one in older if _rests_on(seen, one)), None)


def _rests_on(seen: frozenset[str], statement: Statement) -> bool:
    return bool(statement.evidence) and seen.issuperset(statement.evidence)


def _without_words(one: Interaction) -> Interaction:
    """Return what a count needs of an interaction."""
    is_text = task_or_open(one.task).kind == "text"
    truth = None if is_text else one.ground_truth
    return one.model_copy(update={"query": "", "response": None, "metadata": {}, "ground_truth": truth})


def _counts(history: Sequence[Interaction]) -> tuple[Statement, ...]:
    return derive_statements(history, history[-1].moment[0]) if history else ()
