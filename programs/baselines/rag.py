"""RAG-k: the query, and the user's k most similar past interactions."""

import dspy

from ...data.errors import InputError
from ...data.task import Task
from ..module import Module
from ..quoting import quoted_texts
from ..respond import Respond
from .lamp_texts import shown_items
from .retrievers import Retriever


class Rag(Module):
    """Answer from the k interactions that a retriever finds, under no persona.

    Source: LaMP's retrieval augmentation (arXiv 2304.11406, section 4), with its search texts and item texts; see
    `lamp_texts` for what differs. The paper (arXiv 2506.06254) does not state its k.

    Args:
        task: What is asked and in which form the answer comes.
        retriever: Finds interactions in the user's history.
        k: How many it finds, at most.

    Example:
        >>> program = Rag(task, Bm25Retriever(user.history, task))
        >>> program(query=user.questions[0].query).response
        'classic'
    """

    def __init__(self, task: Task, retriever: Retriever, k: int = 4) -> None:
        super().__init__()
        if k < 1:
            raise InputError(f"k is {k}: RAG needs at least 1 interaction; without any it is the method `prompt`")
        self.task, self.retriever, self.k = task, retriever, k
        self.respond = Respond(task)

    def forward(self, *, query: str) -> dspy.Prediction:
        """Retrieve, respond; the prediction also has the `interactions`, best first."""
        found = self.retriever.top(query=query, k=self.k)
        shown = shown_items(found, self.task)
        answered = self.respond(query=query, interactions=shown, observations=quoted_texts(()))
        return dspy.Prediction(**answered, interactions=found)
