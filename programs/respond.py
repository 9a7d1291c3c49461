"""Respond: the answer, typed by the task."""

from functools import cache
from typing import Any, Literal

import dspy

from ..data.task import Task
from ..signatures import AnswerQuery
from .module import ask
from .speaking import SpeakingModule


class Respond(SpeakingModule):
    """Answer in the task's form: one of its labels, a whole number from 1 to 5, or text."""

    def __init__(self, task: Task) -> None:
        super().__init__(answering(task.kind, task.labels))

    def forward(self, *, query: str, interactions: str, observations: str) -> dspy.Prediction:
        """Make the one call; return a prediction with the `response` as a string.

        Args:
            query: What the user asks.
            interactions: Similar past interactions, quoted.
            observations: What tools returned, quoted.

        Raises:
            AnswerError: The LM did not answer in the task's form.
        """
        answer = ask(self.predict, query=query, interactions=interactions, observations=observations)
        return dspy.Prediction(response=str(answer.response).strip())


@cache
def answering(kind: str, labels: tuple[str, ...]) -> type[dspy.Signature]:
    """Return the signature whose response has the type of a task; made once for each, as that takes a while."""
    return AnswerQuery.with_updated_fields("response", type_=_answer_type(kind, labels))


def _answer_type(kind: str, labels: tuple[str, ...]) -> Any:
    if kind == "rating":
        return Literal[1, 2, 3, 4, 5]
    return Literal[labels] if kind == "label" else str
