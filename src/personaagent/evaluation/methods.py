"""What an evaluation compares: how each system makes the program that answers one user's questions. The baselines."""

import asyncio
from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar, Literal, Protocol

import dspy
from pydantic import Field

from ..data.errors import InputError
from ..data.interaction import Interaction
from ..data.lamp import LampUser
from ..data.nouns import Noun
from ..data.store import user_key
from ..data.task import Task
from ..journal.tools import recorded_tool
from ..programs.baselines.membank import BuildMemoryBank, MemBank
from ..programs.baselines.prompted import Icl, Pag, ProfileSummary, Prompt, Rag
from ..programs.baselines.react import React
from ..programs.baselines.retrievers import Bm25Retriever, DenseRetriever, Retriever
from ..programs.baselines.voting import Knn, Majority
from ..programs.baselines.weighed import Habits, Past, WithWeights
from ..programs.tools.wikipedia import wikipedia_page_tool
from .resources import Resources


class Method(Protocol):
    """A system under evaluation."""

    @property
    def name(self) -> str:
        """Names it in rows and reports."""
        ...

    async def prepare(self, user: LampUser, resources: Resources) -> dspy.Module:
        """Return the program that answers this user's questions, called as `program(query=...)`.

        It may know `user.history` and what the questions ask, never their ground truths. Its predictions have a
        `response` (str, or None for no answer).
        """
        ...

    async def learn(self, program: dspy.Module, user: LampUser, resources: Resources) -> dspy.Module:
        """Return the program for the next question, when one more interaction ended `user.history`."""
        ...


class ListedMethod(Noun):
    """A method with a name: its fields are its options, and those that are not the default are in the name.

    Subclasses write `_program`.

    Example:
        >>> RagMethod(k=8).name
        'rag:k=8'
    """

    kind: ClassVar[str]
    answers_text: ClassVar[bool] = True
    """Whether it can do tasks that ask for text, not for a label or a rating."""

    @property
    def name(self) -> str:
        """The kind and the options: `rag`, `rag:k=8`, `rag:k=8,retriever=dense`."""
        options = self.model_dump(exclude_defaults=True)
        written = ",".join(f"{option}={value}" for option, value in options.items() if option != "schema_version")
        return f"{self.kind}:{written}" if written else self.kind

    def check(self, task: Task) -> None:
        """Refuse, with an `InputError`, a task that the method cannot do, or options that do not fit it."""
        if task.kind == "text" and not self.answers_text:
            raise InputError(f"method {self.kind} answers with labels or ratings, but {task.name} asks for text")

    async def prepare(self, user: LampUser, resources: Resources) -> dspy.Module:
        """Return the program that answers this user's questions; see `Method`."""
        return await self._program(user, resources)

    async def learn(self, program: dspy.Module, user: LampUser, resources: Resources) -> dspy.Module:
        """Prepare the program anew."""
        return await self.prepare(user, resources)

    @abstractmethod
    async def _program(self, user: LampUser, resources: Resources) -> dspy.Module: ...


class WeighedMethod(ListedMethod):
    """A method whose answers to labels and ratings can be weighed with what is known of the user.

    `_program` is the program without weights. They leave the prompt as it is: methods that differ in weights alone ask
    the LM once.
    """

    weights: Literal["none", "user", "global"] = "none"
    """`user`: the user's habits and memory count; `global`: only what is true of all users, nothing of this one."""

    @property
    def form(self) -> str:
        """Names what the prompts hold: the method without its weights."""
        return self.model_copy(update={"weights": "none"}).name

    @property
    def is_weighed(self) -> bool:
        """Whether answers are weighed."""
        return self.weights != "none"

    @property
    def personal(self) -> bool:
        """Whether the weights know the user."""
        return self.weights == "user"

    @property
    def votes(self) -> bool:
        """Whether the user's memory votes."""
        return self.personal

    def check(self, task: Task) -> None:
        """Refuse weights for a task whose answers are texts."""
        if task.kind == "text" and self.weights != "none":
            raise InputError(f"method {self.name}: {task.name} asks for text, and only labels and ratings are weighed")

    async def prepare(self, user: LampUser, resources: Resources) -> dspy.Module:
        """Return the program, with weights if it is to have them."""
        program = await self._program(user, resources)
        weights = resources.weights.get(user_key(user.user_id))
        if weights is None:
            return program
        return WithWeights(program, resources.task, weights, await _past(user, resources) if self.personal else None)

    async def program_before(self, user: LampUser, interaction: Interaction, resources: Resources) -> dspy.Module:
        """Return the program, without weights, as it would have been before an interaction of the user's history."""
        before = tuple(earlier for earlier in user.history if earlier.precedes(interaction))
        return await self._program(replace(user, history=before), resources)


async def _past(user: LampUser, resources: Resources) -> Past:
    return await asyncio.to_thread(Past, user.history, resources.task, resources.embedder)


class MajorityMethod(ListedMethod):
    """The user's most frequent label or rating; no LM."""

    kind: ClassVar[str] = "majority"
    answers_text: ClassVar[bool] = False

    async def _program(self, user: LampUser, resources: Resources) -> dspy.Module:
        return Majority(user.history)


class HabitsMethod(ListedMethod):
    """The user's past answers alone; no LM."""

    answers_text: ClassVar[bool] = False
    by_likeness: ClassVar[bool]

    async def _program(self, user: LampUser, resources: Resources) -> dspy.Module:
        base_rate, past = resources.base_rates[user_key(user.user_id)], await _past(user, resources)
        return Habits(resources.task, base_rate, past, by_likeness=self.by_likeness)


class PriorMethod(HabitsMethod):
    """How often the user gives each answer, mixed with how often other users do; no LM."""

    kind: ClassVar[str] = "prior"
    by_likeness: ClassVar[bool] = False


class VotesMethod(HabitsMethod):
    """What the user answered to similar questions, the more similar the more it counts; no LM."""

    kind: ClassVar[str] = "votes"
    by_likeness: ClassVar[bool] = True


class PromptMethod(WeighedMethod):
    """The bare query, nothing about the user."""

    kind: ClassVar[str] = "prompt"

    async def _program(self, user: LampUser, resources: Resources) -> dspy.Module:
        return Prompt(resources.task)


class RetrievingMethod(ListedMethod):
    """A method that looks up past interactions."""

    k: int = Field(default=4, ge=1)
    """Interactions found, at most."""
    retriever: Literal["bm25", "dense"] = "bm25"
    """Compares by words, or by meaning."""

    async def _index(self, user: LampUser, resources: Resources) -> Retriever:
        if self.retriever == "bm25":  # Python alone: another thread would not let this one go on meanwhile.
            return Bm25Retriever(user.history, resources.task)
        return await asyncio.to_thread(lambda: DenseRetriever(user.history, resources.task, resources.embedder))


class RagMethod(RetrievingMethod, WeighedMethod):
    """The query and the k most similar interactions of the history."""

    kind: ClassVar[str] = "rag"

    async def _program(self, user: LampUser, resources: Resources) -> dspy.Module:
        return Rag(resources.task, await self._index(user, resources), self.k)


class KnnMethod(RetrievingMethod):
    """A vote of the k most similar interactions; no LM."""

    kind: ClassVar[str] = "knn"
    k: int = Field(default=8, ge=1)

    async def _program(self, user: LampUser, resources: Resources) -> dspy.Module:
        return Knn(resources.task, user.history, await self._index(user, resources), self.k)


class IclMethod(WeighedMethod):
    """The query after the user's k latest interactions as examples."""

    kind: ClassVar[str] = "icl"
    k: int = Field(default=4, ge=1)

    async def _program(self, user: LampUser, resources: Resources) -> dspy.Module:
        return Icl(resources.task, user.history, self.k)


class PagMethod(RetrievingMethod):
    """The query, a summary of the user, and the k most similar interactions."""

    kind: ClassVar[str] = "pag"
    k: int = Field(default=4, ge=0)
    """Interactions shown, at most; 0 for the summary alone."""
    items: int = Field(default=10, ge=1)
    """Interactions that the summary is made of, at most."""
    seed: int = 0
    """Decides which."""

    async def _program(self, user: LampUser, resources: Resources) -> dspy.Module:
        retriever = await self._index(user, resources)
        summarised = await ProfileSummary(resources.task, self.items, self.seed).acall(history=user.history)
        return Pag(resources.task, summarised.summary, retriever, self.k)


class ReActMethod(ListedMethod):
    """Thought, action and observation over Wikipedia, `steps` times at most; nothing about the user."""

    kind: ClassVar[str] = "react"
    steps: int = Field(default=7, ge=1)

    async def _program(self, user: LampUser, resources: Resources) -> dspy.Module:
        return React(resources.task, recorded_tool(wikipedia_page_tool()), self.steps)


class MemBankMethod(ListedMethod):
    """The query and the k memories of a bank that are nearest to it."""

    kind: ClassVar[str] = "membank"
    k: int = Field(default=6, ge=1)
    days: int = Field(default=8, ge=1)
    """Latest days that are summarised, at most."""
    forgetting: Literal["published", "corrected", "off"] = "published"
    """How strength acts on forgetting; see `programs.baselines.membank`."""
    seed: int = 0
    """Decides what is forgotten."""

    async def _program(self, user: LampUser, resources: Resources) -> dspy.Module:
        task, embedder = resources.task, resources.embedder
        forgetting = None if self.forgetting == "off" else self.forgetting
        build = BuildMemoryBank(task, embedder, days=self.days, k=self.k, forgetting=forgetting, seed=self.seed)
        built = await build.acall(history=user.history)
        return await asyncio.to_thread(MemBank, task, built.bank, embedder, self.k)
