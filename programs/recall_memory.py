"""Recall: the user's persona decides what to look for in the user's memory."""

from collections.abc import Sequence

import dspy

from ..data.errors import AnswerError
from ..data.statement import Episode, Memory
from ..signatures import WriteSearchQuery
from .module import ask
from .speaking import SpeakingModule


class RecallMemory(SpeakingModule):
    """Write the search that suits this user and this query, and return what memory finds.

    The query itself is always searched for too, so that a poor search can add nothing but cannot hide anything.

    Args:
        k: Number of episodes to return.
    """

    def __init__(self, k: int) -> None:
        super().__init__(WriteSearchQuery)
        self.k = k

    def forward(self, *, query: str, memory: Memory) -> dspy.Prediction:
        """Search for the query and as the persona would; return `episodes` (nearest first) and `search`.

        Args:
            query: What the user asks about, without the fixed words of the task.
            memory: Where to look; masked during a simulation.
        """
        found = memory.recall(query=query, k=self.k)
        try:
            search = ask(self.predict, query=query).search.strip()
        except AnswerError:
            search = ""
        if found and search and search != query:  # Where the query finds nothing, nothing is there.
            found += memory.recall(query=search, k=self.k)
        return dspy.Prediction(episodes=_nearest(found, self.k), search=search)


def _nearest(episodes: Sequence[Episode], k: int) -> tuple[Episode, ...]:
    best: dict[str, Episode] = {}
    for episode in sorted(episodes, key=lambda episode: -episode.similarity):
        best.setdefault(episode.interaction.interaction_id, episode)
    return tuple(best.values())[:k]
