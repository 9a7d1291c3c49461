"""Semantic memory for free text: an LM abstracts a statement about the user from interactions."""

from collections.abc import Sequence
from datetime import datetime

import dspy

from ..data.errors import AnswerError
from ..data.interaction import Interaction
from ..data.persona import refusal_of
from ..data.statement import Statement
from ..data.task import Task
from ..signatures import SummariseUser
from .module import Module, ask
from .quoting import quoted_interactions

_MAX_INTERACTIONS = 40


class SummariseHistory(Module):
    """Turn what was known and what is new into one statement about the user (paper: the profile f_s(S, D))."""

    def __init__(self) -> None:
        super().__init__()
        self.summarise = dspy.Predict(SummariseUser)

    def forward(
        self, *, interactions: Sequence[Interaction], known: Statement | None, task: Task, now: datetime
    ) -> dspy.Prediction:
        """Write the summary; return a prediction with the `statement`, None if it could not be read.

        Args:
            interactions: The new ones, oldest first; of more than 40 only the latest 40 are read.
            known: The statement that an earlier summary left; the new one stands on its evidence too.
            task: The task of the interactions.
            now: The statement's time.
        """
        read = interactions[-_MAX_INTERACTIONS:]
        before = known.text if known else "(nothing)"
        try:
            written = ask(self.summarise, known=before, interactions=quoted_interactions(read, task))
        except AnswerError:
            return dspy.Prediction(statement=None)
        sources = [task.content(interaction.query) for interaction in read]
        sentences = [" ".join(sentence.split()) for sentence in written.statements]
        text = " ".join(sentence for sentence in sentences if sentence and refusal_of(sentence, sources) is None)
        newly = [interaction.interaction_id for interaction in read]
        evidence = tuple(dict.fromkeys([*(known.evidence if known else ()), *newly]))
        if not text:
            return dspy.Prediction(statement=None)
        topic = summary_topic(task)
        statement = Statement(
            statement_id=f"{topic}:{len(evidence)}", topic=topic, text=text, evidence=evidence, at=now
        )
        return dspy.Prediction(statement=statement)


def summary_topic(task: Task) -> str:
    """Return the topic under which the summary of a task's interactions is kept."""
    return f"summary:{task.name}"
