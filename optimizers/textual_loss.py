"""The textual-loss update: an LM criticises simulated responses, and rewrites the persona from what it said."""

from collections.abc import Sequence

import dspy
from pydantic import ValidationError

from ..data.alignment import TextualLoss
from ..data.errors import AnswerError
from ..data.interaction import Interaction
from ..data.persona import SECTIONS, Persona, refusal_of
from ..programs.module import Module, ask
from ..programs.quoting import quoted
from ..signatures import CriticiseResponse, RevisePersona

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


class WholeRewrite(Module):
    """The paper's update: the whole persona and all critiques go in, a whole new persona comes out.

    A line that is kept word for word keeps its causes; the cause of every other line is the batch. A new line that is
    none (`data.persona.refusal_of`), or that copies what was asked, answered or said, is left out.

    Args:
        lm: The model that rewrites; by default the one of the context.
    """

    def __init__(self, lm: dspy.LM | None = None) -> None:
        super().__init__()
        self.revise = dspy.Predict(RevisePersona)
        self.revise.lm = lm

    def forward(self, *, persona: Persona, losses: Sequence[TextualLoss]) -> dspy.Prediction:
        """Rewrite the persona; return a prediction with the `candidate`, None and a `reason` if it cannot be one."""
        try:
            written = ask(self.revise, system_prompt=persona.text, critiques=_joined(losses))
            candidate = persona.rewritten(
                {section: _allowed(written[section], persona, losses) for section in SECTIONS},
                causes=[loss.interaction_id for loss in losses],
            )
        except AnswerError:
            return dspy.Prediction(candidate=None, reason="the rewrite could not be read")
        except ValidationError as error:
            return dspy.Prediction(candidate=None, reason=error.errors()[0]["msg"])
        if not candidate.lines:
            return dspy.Prediction(candidate=None, reason="the rewrite has no line")
        return dspy.Prediction(candidate=candidate, reason="")


def _allowed(texts: Sequence[str], persona: Persona, losses: Sequence[TextualLoss]) -> list[str]:
    """Return those texts that may be lines; what the persona says already may stay."""
    known = {line.text for line in persona.lines}
    sources = [text for loss in losses for text in (loss.query, loss.ground_truth, loss.response or "")]
    return [text for text in texts if text in known or refusal_of(text, sources) is None]


def _joined(losses: Sequence[TextualLoss]) -> str:
    return "\n".join(f"{number}. {quoted(loss.critique, MOST_WORDS)}" for number, loss in enumerate(losses, 1))
