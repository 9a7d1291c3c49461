"""Majority: what the user answers most often, whatever is asked. No LM."""

from collections import Counter
from collections.abc import Sequence

import dspy

from ...data.errors import InputError
from ...data.interaction import Interaction
from ..module import Module


class Majority(Module):
    """Answer with the label or rating that is most frequent in the user's history; of equals, the one seen first.

    On users who nearly always answer the same it is hard to beat, so no report is complete without it.

    Args:
        history: The user's past interactions, oldest first. Those without ground truth do not count.
    """

    def __init__(self, history: Sequence[Interaction]) -> None:
        super().__init__()
        answers = Counter(item.ground_truth for item in history if item.ground_truth is not None)
        if not answers:
            raise InputError("majority needs a history with ground truths, and no interaction of this user has one")
        [(self.response, _)] = answers.most_common(1)

    def forward(self, *, query: str) -> dspy.Prediction:
        """Return the same for every query."""
        return dspy.Prediction(response=self.response)
