"""Recall without an LM call."""

import dspy

from ..data.statement import Memory


class Recall(dspy.Module):
    """Find what the user answered to similar questions."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def forward(self, *, query: str, memory: Memory) -> dspy.Prediction:
        """Return `episodes` to show and all `answered`."""
        found = memory.recall(query, max(len(memory.history()), 1))
        answered = tuple(one for one in found if one.interaction.ground_truth is not None)
        return dspy.Prediction(episodes=answered[: self.k], answered=answered)
