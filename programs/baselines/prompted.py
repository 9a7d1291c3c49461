"""The query after what is known of the user: nothing, the latest interactions, similar ones, or a summary too.

Nothing else differs between these baselines: the contract and the typed answer are those of every other method, and
there is no persona.
"""

import random
from collections.abc import Sequence

import dspy

from ...data.errors import InputError
from ...data.interaction import Interaction
from ...data.task import Task
from ...signatures import SummariseProfile
from ..module import Module, ask
from ..quoting import quoted_block, quoted_interactions, quoted_texts
from ..respond import Respond
from .lamp_texts import shown_items
from .retrievers import Retriever

_EXAMPLE_WORDS = 100
"""Words of each example's query: a question of LaMP-1 has three titles, and none may be cut off."""
_ITEM_WORDS = 200
_WANTED = {
    "LaMP-1": "the fields of research and the topics that this author works on",
    "LaMP-2M": "which tag this user gives to films most often, and to which films",
    "LaMP-2N": "which category this author's articles have most often, and which articles",
    "LaMP-3": "which score this user usually gives in a good review, and which in a bad one",
    "LaMP-4": "a template of this author's headlines: their length, form, tone and favourite turns",
    "LaMP-5": "a template of this author's paper titles: their length, form and favourite turns",
    "LaMP-6": "a template of this user's subject lines: their length, form, tone and favourite turns",
    "LaMP-7": "a template of this user's tweets: their length, form, tone and favourite turns",
}
_WANTED_ELSEWHERE = "what this user is interested in, and how the user usually answers"


class Prompt(Module):
    """Answer the bare query: what an LM says to anybody.

    Source: the non-personalised baseline of LaMP (arXiv 2304.11406) and of the paper (arXiv 2506.06254, "Prompt").
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task, self.respond = task, Respond(task)

    def forward(self, *, query: str) -> dspy.Prediction:
        """Make the one call."""
        return self._answer(query, quoted_texts(()))

    def _answer(self, query: str, known: str, found: Sequence[Interaction] | None = None) -> dspy.Prediction:
        """Return the answer after what is known of the user, with the interactions in it."""
        answered = self.respond(query=query, interactions=known, observations=quoted_texts(()))
        return answered if found is None else dspy.Prediction(**answered, interactions=found)


class Icl(Prompt):
    """Answer after the same few examples whatever is asked: the user's latest, oldest first.

    Source: "ICL" in the paper (arXiv 2506.06254), which states neither how many examples nor which; after Brown et al.
    (arXiv 2005.14165). Ours are the latest 4 interactions with a ground truth. A history without any (LaMP-1 and LaMP-7
    as published) gives its latest items instead, as examples of what the user writes.

    Args:
        task: What is asked and in which form the answer comes.
        history: The user's past interactions, oldest first.
        shots: How many examples are shown, at most.
    """

    def __init__(self, task: Task, history: Sequence[Interaction], shots: int = 4) -> None:
        super().__init__(task)
        if shots < 1:
            raise InputError(f"shots is {shots}: ICL needs at least 1 example; without any it is the method `prompt`")
        if not history:
            raise InputError("ICL needs a history to take its examples from, and this user has none")
        answered = [interaction for interaction in history if interaction.ground_truth is not None]
        self.examples = tuple((answered or history)[-shots:])
        self.shown = quoted_interactions(self.examples, task, most=_EXAMPLE_WORDS)

    def forward(self, *, query: str) -> dspy.Prediction:
        """Make the one call; the prediction also has the `interactions` that were shown, oldest first."""
        return self._answer(query, self.shown, self.examples)


class Rag(Prompt):
    """Answer from the k interactions that a retriever finds.

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
        super().__init__(task)
        if k < 1:
            raise InputError(f"k is {k}: RAG needs at least 1 interaction; without any it is the method `prompt`")
        self.retriever, self.k = retriever, k

    def forward(self, *, query: str) -> dspy.Prediction:
        """Retrieve, respond; the prediction also has the `interactions`, best first."""
        found = self.retriever.top(query=query, k=self.k)
        return self._answer(query, shown_items(found, self.task), found)


class ProfileSummary(Module):
    """Summarise a user from a few items of the history, chosen by chance: one LM call per user.

    Source: Richardson et al. (arXiv 2310.20081), with the sizes and the questions of OPPU (arXiv 2402.04401): 10 items,
    each cut to 200 words, and a question of its own for each task. OPPU draws unseeded; here a seed decides.

    Args:
        task: What the items are about; decides what the summary must say.
        items: How many items are read, at most.
        seed: Decides which.
    """

    def __init__(self, task: Task, items: int = 10, seed: int = 0) -> None:
        super().__init__()
        if items < 1:
            raise InputError(f"items is {items}: a summary needs at least 1 item")
        self.task, self.size, self.seed = task, items, seed
        self.summarise = dspy.Predict(SummariseProfile)

    def forward(self, *, history: Sequence[Interaction]) -> dspy.Prediction:
        """Make the one call; the prediction has the `summary` (str).

        Raises:
            InputError: There is no history.
            AnswerError: The LM wrote nothing that can be read.
        """
        if not history:
            raise InputError("PAG summarises a history, and this user has none")
        chosen = random.Random(self.seed).sample(range(len(history)), min(self.size, len(history)))
        items = quoted_interactions([history[place] for place in sorted(chosen)], self.task, most=_ITEM_WORDS)
        wanted = _WANTED.get(self.task.name, _WANTED_ELSEWHERE)
        written = ask(self.summarise, wanted=wanted, past_items=items)
        return dspy.Prediction(summary=written.summary.strip())


class Pag(Prompt):
    """Answer from a summary of the user and the k interactions that a retriever finds.

    Source: "PAG" in the paper (arXiv 2506.06254): profile-augmented generation (arXiv 2310.20081). Without a summary it
    is RAG-k, whose prompt it shares.

    Args:
        task: What is asked and in which form the answer comes.
        summary: Who the user is, as `ProfileSummary` says.
        retriever: Finds interactions in the user's history; not needed if `k` is 0.
        k: How many it finds, at most; 0 for the summary alone.

    Example:
        >>> summary = ProfileSummary(task)(history=user.history).summary
        >>> Pag(task, summary, Bm25Retriever(user.history, task))(query=user.questions[0].query).response
        'classic'
    """

    def __init__(self, task: Task, summary: str, retriever: Retriever | None = None, k: int = 4) -> None:
        super().__init__(task)
        if k < 0 or (k and retriever is None):
            raise InputError(f"k is {k}: PAG needs a retriever and a k of at least 1, or a k of 0")
        self.summary, self.retriever, self.k = summary, retriever, k

    def forward(self, *, query: str) -> dspy.Prediction:
        """Retrieve, respond; the prediction also has the `interactions`, best first."""
        found = self.retriever.top(query=query, k=self.k) if self.retriever is not None and self.k else ()
        known = f"summary of this user:\n{quoted_block(self.summary)}\n{shown_items(found, self.task)}"
        return self._answer(query, known, found)
