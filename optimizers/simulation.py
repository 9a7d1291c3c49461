"""Simulate: answer a past interaction again, seeing only what came before it."""

import dspy

from ..data.errors import AnswerError
from ..data.interaction import Interaction
from ..programs import PersonaAgent
from ..programs.module import Module

SERVED_BY = "served_by"
"""In an interaction's metadata: the LM that gave the response."""


class Simulate(Module):
    """What the agent would have said, under its present persona, when the interaction began.

    Args:
        reuse_served: Whether the answer that the user was given, if under the same persona version and by the same LM,
            is taken for the simulation: it was made then, and costs nothing now.
    """

    def __init__(self, *, reuse_served: bool = False) -> None:
        super().__init__()
        self.reuse_served = reuse_served

    def forward(self, *, agent: PersonaAgent, interaction: Interaction) -> dspy.Prediction:
        """Let the agent answer; return a prediction with the `interaction` and its `response`.

        A response that is not in the task's form is None: the textual loss then says so.
        """
        if self.reuse_served and _was_served(agent, interaction):
            return dspy.Prediction(interaction=interaction, response=interaction.response)
        try:
            answered = agent.as_of(interaction)(query=interaction.query)
        except AnswerError:
            return dspy.Prediction(interaction=interaction, response=None)
        return dspy.Prediction(interaction=interaction, response=answered.response)


def _was_served(agent: PersonaAgent, interaction: Interaction) -> bool:
    same_persona = agent.persona_version is not None and interaction.persona_version == agent.persona_version
    asked = dspy.settings.lm
    same_lm = asked is not None and interaction.metadata.get(SERVED_BY) == asked.model
    return same_persona and same_lm and interaction.response is not None
