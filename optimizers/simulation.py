"""Simulate: answer a past interaction again, seeing only what came before it."""

import dspy

from ..data.errors import AnswerError
from ..data.interaction import Interaction
from ..programs import PersonaAgent
from ..programs.driver import Body, Call, DrivenModule


class Simulate(DrivenModule):
    """What the agent would have said, under its present persona, when the interaction began."""

    def body(self, *, agent: PersonaAgent, interaction: Interaction) -> Body[dspy.Prediction]:
        """Yield the agent's answer; return a prediction with the `interaction` and its `response`.

        A response that is not in the task's form is None: the textual loss then says so.
        """
        try:
            answered = yield Call(agent.as_of(interaction), {"query": interaction.query})
        except AnswerError:
            return dspy.Prediction(interaction=interaction, response=None)
        return dspy.Prediction(interaction=interaction, response=answered.response)
