"""What the user answered most often: to everything, or to the most similar past queries. No LM."""

from collections import Counter
from collections.abc import Sequence

import dspy

from ...data.errors import InputError
from ...data.interaction import Interaction
from ...data.task import Task
from ..module import Module
from .lamp_texts import candidate_titles
from .retrievers import Retriever


class Majority(Module):
    """Answer with the label or rating that is most frequent in the user's history; of equals, the one seen first.

    On users who nearly always answer the same it is hard to beat, so no report is complete without it. Interactions
    without ground truth do not count.
    """

    def __init__(self, history: Sequence[Interaction]) -> None:
        super().__init__()
        answers = Counter(item.ground_truth for item in history if item.ground_truth is not None)
        if not answers:
            raise InputError("majority needs a history with ground truths, and no interaction of this user has one")
        [(self.response, _)] = answers.most_common(1)

    def forward(self, *, query: str) -> dspy.Prediction:
        """Return the same for every query."""
        return dspy.Prediction(response=self.response)


class Knn(Module):
    """Let the k nearest past interactions with a ground truth vote; of equally many votes, those of the nearest win.

    Source: nearest neighbours (Cover and Hart, doi 10.1109/TIT.1967.1053964) in the user's own history. A rating is
    voted for like a label: the most frequent one wins, not the mean. A text is taken over from the nearest alone.

    The histories of LaMP-1 have no answers to vote with, and which candidate stands first says nothing. There, the
    answer is the candidate of whose words the larger part is in the user's past titles; of equals, the first.

    Args:
        task: What is asked and in which form the answer comes.
        history: The user's past interactions, oldest first.
        retriever: Finds interactions in this history.
        k: How many interactions vote, at most.
    """

    def __init__(self, task: Task, history: Sequence[Interaction], retriever: Retriever, k: int = 8) -> None:
        super().__init__()
        if k < 1:
            raise InputError(f"k is {k}: kNN needs at least 1 neighbour")
        self.chooses_titles = task.name == "LaMP-1"
        self.retriever, self.k, self.size = retriever, 1 if task.kind == "text" else k, len(history)
        self.title_words = {word for item in history for word in _words(str(item.metadata.get("title", "")))}
        if self.chooses_titles and not self.title_words:
            raise InputError("kNN chooses between candidates of LaMP-1 by past titles, and this user has none")
        if not self.chooses_titles and all(item.ground_truth is None for item in history):
            raise InputError("kNN needs a history with ground truths, and no interaction of this user has one")

    def forward(self, *, query: str) -> dspy.Prediction:
        """Retrieve, vote; the response is None if a query of LaMP-1 has no candidates."""
        if self.chooses_titles:
            return dspy.Prediction(response=self._title(candidate_titles(query)))
        found = self.retriever.top(query=query, k=self.size)
        answers = [interaction.ground_truth for interaction in found if interaction.ground_truth is not None]
        [(response, _)] = Counter(answers[: self.k]).most_common(1)
        return dspy.Prediction(response=response)

    def _title(self, candidates: Sequence[str]) -> str | None:
        shares = [len(words & self.title_words) / max(len(words), 1) for words in map(_words, candidates)]
        return f"[{shares.index(max(shares)) + 1}]" if shares else None


def _words(text: str) -> set[str]:
    return set(text.casefold().split())
