"""The systems that PersonaAgent is compared with, as methods."""

import asyncio
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ..data.errors import InputError
from ..data.lamp import LampUser
from ..data.task import Task
from .methods import ListedMethod

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


class PromptMethod(ListedMethod):
    """The bare query, nothing about the user."""

    kind: ClassVar[str] = "prompt"

    async def prepare(self, user: LampUser, bench: "Workbench") -> "dspy.Module":
        """Make the same program for any user."""
        from ..programs.baselines.prompt import Prompt

        return Prompt(bench.task)


class RetrievingMethod(ListedMethod):
    """A method that looks up past interactions."""

    k: int = Field(default=4, ge=1)
    """Interactions shown, at most."""
    retriever: Literal["bm25", "dense"] = "bm25"
    """Compares by words, or by meaning."""

    def _retriever(self, user: LampUser, bench: "Workbench") -> "Retriever":
        from ..programs.baselines.retrievers import Bm25Retriever, DenseRetriever

        if self.retriever == "bm25":
            return Bm25Retriever(user.history, bench.task)
        return DenseRetriever(user.history, bench.task, bench.embedder)


class RagMethod(RetrievingMethod):
    """The query and the k most similar interactions of the history."""

    kind: ClassVar[str] = "rag"

    async def prepare(self, user: LampUser, bench: "Workbench") -> "dspy.Module":
        """Index the history."""
        from ..programs.baselines.rag import Rag

        return Rag(bench.task, await asyncio.to_thread(self._retriever, user, bench), self.k)
