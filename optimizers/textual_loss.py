"""Textual loss: an LM criticises one simulated response against what the user really did."""

import dspy

from ..data.alignment import TextualLoss
from ..data.errors import AnswerError
from ..data.interaction import Interaction
from ..programs.module import Module, ask
from ..programs.quoting import quoted
from ..signatures import CriticiseResponse

MOST_WORDS = 300
"""Of a question, an answer or a response, quoted for a critique."""
_NO_RESPONSE = "(no answer in the form that was asked for)"


class MeasureTextualLoss(Module):
    """One critique for one simulated interaction (paper: the textual gradient).

    Args:
        lm: The model that criticises; by default the one of the context.
    """

    def __init__(self, lm: dspy.LM | None = None) -> None:
        super().__init__()
        self.criticise = dspy.Predict(CriticiseResponse)
        self.criticise.lm = lm

    def forward(self, *, interaction: Interaction, response: str | None) -> dspy.Prediction:
        """Criticise the response; return a prediction with the `loss`, None if the critique could not be read."""
        ground_truth = interaction.ground_truth or ""
        given = {"question": interaction.query, "expected_answer": ground_truth, "response": response or _NO_RESPONSE}
        try:
            criticised = ask(self.criticise, **{name: quoted(text, MOST_WORDS) for name, text in given.items()})
        except AnswerError:
            return dspy.Prediction(loss=None)
        loss = TextualLoss(
            interaction_id=interaction.interaction_id,
            query=interaction.query,
            response=response,
            ground_truth=ground_truth,
            critique=criticised.critique.strip(),
        )
        return dspy.Prediction(loss=loss)
