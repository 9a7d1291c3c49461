"""Semantic memory for free text: an LM abstracts a statement about the user from interactions."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import dspy

from ..data.errors import AnswerError
from ..data.interaction import Interaction
from ..data.statement import Statement
from ..data.task import Task
from ..signatures import SummariseUser
from .driver import Body, Call, DrivenModule
from .quoting import quoted_interactions

_MAX_INTERACTIONS = 40


class SummariseHistory(DrivenModule):
    """Turn what was known and what is new into one statement about the user (paper: the profile f_s(S, D))."""

    def __init__(self) -> None:
        super().__init__()
        self.summarise = dspy.Predict(SummariseUser)

    def body(
        self, *, interactions: Sequence[Interaction], known: Statement | None, task: Task, now: datetime
    ) -> Body[dspy.Prediction]:
        """Yield the summary; return a prediction with the `statement`, None if it could not be read.

        Args:
            interactions: The new ones, oldest first; of more than 40 only the latest 40 are read.
            known: The statement that an earlier summary left; the new one stands on its evidence too.
            task: The task of the interactions.
            now: The statement's time.
        """
        read = interactions[-_MAX_INTERACTIONS:]
        inputs = {"known": known.text if known else "(nothing)", "interactions": quoted_interactions(read, task)}
        try:
            written: Any = yield Call(self.summarise, inputs)
        except AnswerError:
            return dspy.Prediction(statement=None)
        text = " ".join(sentence.strip() for sentence in written.statements if sentence.strip())
        evidence = dict.fromkeys([*(known.evidence if known else ()), *(one.interaction_id for one in read)])
        if not text:
            return dspy.Prediction(statement=None)
        topic = summary_topic(task)
        statement = Statement(
            statement_id=f"{topic}:{len(evidence)}", topic=topic, text=text, evidence=tuple(evidence), at=now
        )
        return dspy.Prediction(statement=statement)


def summary_topic(task: Task) -> str:
    """Return the topic under which the summary of a task's interactions is kept."""
    return f"summary:{task.name}"
