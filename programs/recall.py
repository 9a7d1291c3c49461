"""Recall: what the user answered to questions like this one, found without an LM or, in the paper, as it searches."""

import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence

import dspy

from ..data.errors import AnswerError
from ..data.interaction import normalised
from ..data.memory.rows import content_of
from ..data.statement import Episode, Memory
from ..signatures import WriteSearchQuery
from .module import SpeakingModule, ask

_WORD_OR_SIGN = re.compile(r"\w+|[^\w\s]")
_POLITE = {"hello", "hey", "hi", "just", "kindly", "ok", "okay", "please", "pls", "so", "thank", "thanks", "well"}
_SAYS_NOTHING = {*_POLITE, "a", "again", "an", "the", "what", "which"}
"""Words that come and go when a question is asked again."""


class Recall(dspy.Module):
    """Find the interactions that say most about a query; no LM is asked.

    Interactions with a ground truth come first, nearest in meaning first; others only fill what is left. Of those that
    ask nearly the same only the newest is shown: it holds the user's present answer, and copies of one question do not
    push out the rest. Two queries ask nearly the same if they consist of the same words; case, order, punctuation and
    words such as "please" do not matter. A threshold of likeness would be no test: long questions that differ in one
    word, the name of a film, are alike and ask different things.
    """

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def forward(self, *, query: str, memory: Memory) -> dspy.Prediction:
        """Search the memory.

        Returns:
            A prediction with `episodes`, at most `k` to show, and `answered`, every visible interaction with a ground
            truth. Both are best first, and what asks the same as `query` is the best; they may be of any task.
        """
        found = memory.recall(query, sys.maxsize)
        answered = tuple(episode for episode in found if episode.interaction.ground_truth is not None)
        unanswered = tuple(episode for episode in found if episode.interaction.ground_truth is None)
        newest: dict[tuple[str, ...], Episode] = {}
        for episode in (*_newest_first(answered), *_newest_first(unanswered)):
            newest.setdefault(_gist(content_of(episode.interaction)), episode)
        shown = {episode.interaction.interaction_id for episode in newest.values()}
        best = (episode for episode in (*answered, *unanswered) if episode.interaction.interaction_id in shown)
        return dspy.Prediction(episodes=tuple(best)[: self.k], answered=answered)


def _newest_first(episodes: Iterable[Episode]) -> list[Episode]:
    return sorted(episodes, key=lambda episode: episode.interaction.moment, reverse=True)


def _gist(text: str) -> tuple[str, ...]:
    """Return the words and signs of a text that say what it asks, in an order of their own."""
    parts = _WORD_OR_SIGN.findall(unicodedata.normalize("NFKC", text).casefold())
    said = [part for part in parts if part not in _SAYS_NOTHING and not unicodedata.category(part[0]).startswith("P")]
    return tuple(sorted(said)) or (normalised(text),)


class RecallMemory(SpeakingModule):
    """Write the search that suits this user and this query, and return what memory finds.

    The query itself is always searched for too, so that a poor search can add nothing but cannot hide anything.
    """

    def __init__(self, k: int) -> None:
        super().__init__(WriteSearchQuery)
        self.k = k

    def forward(self, *, query: str, memory: Memory) -> dspy.Prediction:
        """Search for the query and as the persona would; return `episodes` (nearest first) and `search`."""
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
