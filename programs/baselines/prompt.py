"""Prompt: the query and nothing about the user."""

import dspy

from ...data.task import Task
from ..module import Module
from ..quoting import quoted_texts
from ..respond import Respond


class Prompt(Module):
    """Answer the bare query, under no persona and from no history: what an LM says to anybody.

    Source: the non-personalised baseline of LaMP (arXiv 2304.11406) and of the paper (arXiv 2506.06254, "Prompt"). The
    contract and the typed answer are those of every other method.

    Args:
        task: In which form the answer comes.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.respond = Respond(task)

    def forward(self, *, query: str) -> dspy.Prediction:
        """Make the one call."""
        nothing = quoted_texts(())
        return self.respond(query=query, interactions=nothing, observations=nothing)
