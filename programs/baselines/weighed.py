"""Any baseline with answer weights: the same prompt, weighed with the user's habits and memory."""

from collections.abc import Sequence

import dspy

from ...data.answer_weights import AnswerWeights, Distribution, best_answer, prior_of, votes_of
from ...data.interaction import Interaction
from ...data.memory.embedder import Embedder
from ...data.statement import Episode
from ...data.task import Task
from ..module import Module
from ..weighing import serves, weighed


class Past:
    """A user's past answers, each with its likeness to a question; the constructor embeds the history."""

    def __init__(self, history: Sequence[Interaction], task: Task, embedder: Embedder) -> None:
        self._answered = tuple(past for past in history if past.ground_truth is not None)
        self._task, self._embedder = task, embedder
        self._vectors = embedder.embed([task.content(past.query) for past in self._answered])

    def answered(self, query: str) -> tuple[Episode, ...]:
        """Return all past interactions with a ground truth, oldest first."""
        if not self._answered:
            return ()
        likenesses = self._vectors @ self._embedder.embed([self._task.content(query)])[0]
        return tuple(
            Episode(interaction=past, similarity=float(likeness))
            for past, likeness in zip(self._answered, likenesses, strict=True)
        )


class WithWeights(Module):
    """A program whose answers are weighed; where its LM is another one, they are left as they are.

    Without a `past`, the weights know nothing of the user.
    """

    def __init__(self, program: dspy.Module, task: Task, weights: AnswerWeights, past: Past | None) -> None:
        super().__init__()
        self.program, self.task, self.weights, self.past = program, task, weights, past

    def forward(self, *, query: str) -> dspy.Prediction:
        """Return the program's prediction, with `response`, `probabilities` and `experts` after weighing."""
        answered = self.program(query=query)
        lm = dspy.settings.lm
        if lm is None or not serves(self.weights, self.task, lm.model):
            return answered
        past = self.past.answered(query) if self.past else ()
        found = weighed(self.task, answered.lm_probabilities, self.weights, past)
        return dspy.Prediction(**{**answered.toDict(), **found._asdict()})


class Habits(Module):
    """Answer from the user's past answers alone, and how often other users give each (the base rate), without an LM.

    `by_likeness` says whether answers to questions like this one count more (the votes), or all alike (the prior).
    """

    def __init__(self, task: Task, base_rate: Distribution, past: Past, *, by_likeness: bool) -> None:
        super().__init__()
        self.task, self.base_rate, self.past, self.by_likeness = task, base_rate, past, by_likeness

    def forward(self, *, query: str) -> dspy.Prediction:
        """Return a prediction with `response` and `probabilities`."""
        answered = self.past.answered(query)
        given = [episode.interaction.ground_truth or "" for episode in answered]
        prior = prior_of(given, self.base_rate)
        votes = votes_of([episode.similarity for episode in answered], given, prior) if self.by_likeness else prior
        return dspy.Prediction(response=best_answer(votes, self.task.rewards), probabilities=votes)
