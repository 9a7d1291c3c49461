"""Simulate: answer a past interaction again, seeing only what came before it."""

from collections.abc import Sequence

import dspy

from ..data.errors import AnswerError, InputError
from ..data.interaction import Interaction
from ..programs import PersonaAgent
from ..programs.module import Module

SERVED_BY = "served_by"
"""In an interaction's metadata: the LM that gave the response."""
LM_PROBABILITIES = "lm_probabilities"
"""In an interaction's metadata: what that LM said of each answer."""


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
        """Let the agent answer; return a prediction with the `response` and the `lm_probabilities`.

        A response that is not in the task's form is None: the textual loss then says so.
        """
        if self.reuse_served and was_served(agent, interaction):
            served = interaction.metadata.get(LM_PROBABILITIES)
            return dspy.Prediction(response=interaction.response, lm_probabilities=served)
        try:
            answered = agent.as_of(interaction)(query=interaction.query)
        except AnswerError:
            return dspy.Prediction(response=None, lm_probabilities=None)
        return dspy.Prediction(response=answered.response, lm_probabilities=answered.lm_probabilities)


def was_served(agent: PersonaAgent, interaction: Interaction) -> bool:
    """Return whether the user was given this agent's answer, so that a simulation would ask the same again."""
    same_persona = agent.persona_version is not None and interaction.persona_version == agent.persona_version
    asked = dspy.settings.lm
    same_lm = asked is not None and interaction.metadata.get(SERVED_BY) == asked.model
    is_whole = agent.task.kind == "text" or LM_PROBABILITIES in interaction.metadata
    return same_persona and same_lm and is_whole and interaction.response is not None


def latest(interactions: Sequence[Interaction], n: int) -> tuple[Interaction, ...]:
    """Return the latest `n` interactions with a ground truth, oldest first, as the paper's abstract says.

    Raises:
        InputError: None of them has a ground truth, so there is nothing to align with.
    """
    known = [interaction for interaction in interactions if teaches(interaction)]
    if not known:
        raise InputError(
            f"none of the {len(interactions)} interactions has a ground truth: there is nothing to align with"
        )
    return tuple(sorted(known, key=lambda interaction: interaction.moment)[-n:])


def teaches(interaction: Interaction) -> bool:
    """Whether a persona may learn from an interaction: its ground truth is known, and no tool brought it."""
    return interaction.ground_truth is not None and interaction.source != "tool"
