"""The systems that PersonaAgent is compared with, as methods."""

import asyncio
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ..data.errors import InputError
from ..data.lamp import LampUser
from ..data.store import user_key
from ..data.task import Task
from .methods import ListedMethod, WeighedMethod

if TYPE_CHECKING:
    import dspy

    from ..programs.baselines.retrievers import Retriever
    from .workbench import Workbench


class MajorityMethod(ListedMethod):
    """The user's most frequent label or rating; no LM."""

    kind: ClassVar[str] = "majority"

    def check(self, task: Task) -> None:
        """Refuse a task that asks for text.

        Raises:
            InputError: It does.
        """
        if task.kind == "text":
            raise InputError(f"method majority answers with labels or ratings, but {task.name} asks for text")

    async def prepare(self, user: LampUser, bench: "Workbench") -> "dspy.Module":
        """Count the answers in the history."""
        from ..programs.baselines.majority import Majority

        return Majority(user.history)


class HabitsMethod(ListedMethod):
    """The user's past answers alone; no LM."""

    by_likeness: ClassVar[bool]

    def check(self, task: Task) -> None:
        """Refuse a task that asks for text.

        Raises:
            InputError: It does.
        """
        if task.kind == "text":
            raise InputError(f"method {self.kind} answers with labels or ratings, but {task.name} asks for text")

    async def prepare(self, user: LampUser, bench: "Workbench") -> "dspy.Module":
        """Embed the history."""
        from ..programs.baselines.weighed import Habits, Past

        past = await asyncio.to_thread(Past, user.history, bench.task, bench.embedder)
        return Habits(bench.task, bench.base_rates[user_key(user.user_id)], past, by_likeness=self.by_likeness)


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

    async def unweighed(self, user: LampUser, bench: "Workbench") -> "dspy.Module":
        """Make the same program for any user."""
        from ..programs.baselines.prompt import Prompt

        return Prompt(bench.task)


class RetrievingMethod(ListedMethod):
    """A method that looks up past interactions."""

    k: int = Field(default=4, ge=1)
    """Interactions shown, at most."""
    retriever: Literal["bm25", "dense"] = "bm25"
    """Compares by words, or by meaning."""

    async def _index(self, user: LampUser, bench: "Workbench") -> "Retriever":
        from ..programs.baselines.retrievers import Bm25Retriever, DenseRetriever

        if self.retriever == "bm25":  # Python alone: another thread would not let this one go on meanwhile.
            return Bm25Retriever(user.history, bench.task)
        return await asyncio.to_thread(lambda: DenseRetriever(user.history, bench.task, bench.embedder))


class RagMethod(RetrievingMethod, WeighedMethod):
    """The query and the k most similar interactions of the history."""

    kind: ClassVar[str] = "rag"

    async def unweighed(self, user: LampUser, bench: "Workbench") -> "dspy.Module":
        """Index the history."""
        from ..programs.baselines.rag import Rag

        return Rag(bench.task, await self._index(user, bench), self.k)


class KnnMethod(RetrievingMethod):
    """A vote of the k most similar interactions; no LM."""

    kind: ClassVar[str] = "knn"

    k: int = Field(default=8, ge=1)
    """Interactions that vote, at most."""

    async def prepare(self, user: LampUser, bench: "Workbench") -> "dspy.Module":
        """Index the history."""
        from ..programs.baselines.knn import Knn

        return Knn(bench.task, user.history, await self._index(user, bench), self.k)


class IclMethod(WeighedMethod):
    """The query after the user's latest interactions as examples."""

    kind: ClassVar[str] = "icl"

    k: int = Field(default=4, ge=1)
    """Examples, at most."""

    async def unweighed(self, user: LampUser, bench: "Workbench") -> "dspy.Module":
        """Take the examples."""
        from ..programs.baselines.icl import Icl

        return Icl(bench.task, user.history, self.k)


class PagMethod(RetrievingMethod):
    """The query, a summary of the user, and the k most similar interactions."""

    kind: ClassVar[str] = "pag"

    k: int = Field(default=4, ge=0)
    """Interactions shown, at most; 0 for the summary alone."""
    items: int = Field(default=10, ge=1)
    """Interactions that the summary is made of, at most."""
    seed: int = 0
    """Decides which."""

    async def prepare(self, user: LampUser, bench: "Workbench") -> "dspy.Module":
        """Summarise the user, index the history."""
        from ..programs.baselines.pag import Pag, ProfileSummary

        retriever = await self._index(user, bench)
        summarised = await ProfileSummary(bench.task, self.items, self.seed).acall(history=user.history)
        return Pag(bench.task, summarised.summary, retriever, self.k)


class ReActMethod(ListedMethod):
    """Thought, action and observation over Wikipedia; nothing about the user."""

    kind: ClassVar[str] = "react"

    steps: int = Field(default=7, ge=1)
    """Steps, at most."""

    async def prepare(self, user: LampUser, bench: "Workbench") -> "dspy.Module":
        """Make the same program for any user."""
        from ..journal.tools import recorded_tool
        from ..programs.baselines.react import React
        from ..programs.tools.wikipedia import wikipedia_page_tool

        return React(bench.task, recorded_tool(wikipedia_page_tool()), self.steps)


class MemBankMethod(ListedMethod):
    """The query and what a bank of memories holds that is near to it."""

    kind: ClassVar[str] = "membank"

    k: int = Field(default=6, ge=1)
    """Memories shown, at most."""
    days: int = Field(default=8, ge=1)
    """Latest days that are summarised, at most."""
    forgetting: Literal["published", "corrected", "off"] = "published"
    """How strength acts on forgetting; see `programs.baselines.memory_bank`."""
    seed: int = 0
    """Decides what is forgotten."""

    async def prepare(self, user: LampUser, bench: "Workbench") -> "dspy.Module":
        """Build the bank."""
        from ..programs.baselines.membank import BuildMemoryBank, MemBank

        forgetting = None if self.forgetting == "off" else self.forgetting
        build = BuildMemoryBank(
            bench.task, bench.embedder, days=self.days, k=self.k, forgetting=forgetting, seed=self.seed
        )
        built = await build.acall(history=user.history)
        return await asyncio.to_thread(MemBank, bench.task, built.bank, bench.embedder, self.k)
