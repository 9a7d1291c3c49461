"""ICL: the query, and the user's latest interactions as examples of how the user answers."""

from collections.abc import Sequence

import dspy

from ...data.errors import InputError
from ...data.interaction import Interaction
from ...data.task import Task
from ..module import Module
from ..quoting import quoted_interactions, quoted_texts
from ..respond import Respond

_EXAMPLE_WORDS = 100
"""Words of each example's query: a question of LaMP-1 has three titles, and none may be cut off."""


class Icl(Module):
    """Answer after the same few examples whatever is asked: the user's latest, oldest first, under no persona.

    Source: "ICL" in the paper (arXiv 2506.06254), which states neither how many examples nor which; after Brown et al.
    (arXiv 2005.14165). Ours are the latest 4 interactions with a ground truth. A history without any (LaMP-1 and LaMP-7
    as published) gives its latest items instead, as examples of what the user writes.

    Args:
        task: What is asked and in which form the answer comes.
        history: The user's past interactions, oldest first.
        shots: How many examples are shown, at most.
    """

    def __init__(self, task: Task, history: Sequence[Interaction], shots: int = 4) -> None:
        super().__init__()
        if shots < 1:
            raise InputError(f"shots is {shots}: ICL needs at least 1 example; without any it is the method `prompt`")
        if not history:
            raise InputError("ICL needs a history to take its examples from, and this user has none")
        answered = [interaction for interaction in history if interaction.ground_truth is not None]
        self.examples = tuple((answered or history)[-shots:])
        self.shown = quoted_interactions(self.examples, task, most=_EXAMPLE_WORDS)
        self.respond = Respond(task)

    def forward(self, *, query: str) -> dspy.Prediction:
        """Make the one call; the prediction also has the `interactions` that were shown, oldest first."""
        answered = self.respond(query=query, interactions=self.shown, observations=quoted_texts(()))
        return dspy.Prediction(**answered, interactions=self.examples)
