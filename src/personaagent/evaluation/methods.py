"""Methods: how each system makes the program that answers one user's questions."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from ..data.errors import InputError, UnknownNameError
from ..data.lamp import LampUser
from ..data.memory.embedder import Embedder
from ..data.task import Task

if TYPE_CHECKING:
    import dspy


class Method(Protocol):
    """A system under evaluation."""

    @property
    def name(self) -> str:
        """Names it in rows and reports."""
        ...

    async def prepare(self, user: LampUser) -> "dspy.Module":
        """Return the program that answers this user's questions, called as `program(query=...)`.

        It may know `user.history` and what the questions ask, never their ground truths. Its predictions have a
        `response` (str, or None for no answer).
        """
        ...


Constructor = Callable[[Task], Method]
"""Makes a method for a task; raises InputError if the method cannot do that task."""


class MajorityMethod:
    """The user's most frequent label or rating; no LM.

    Args:
        task: A task of labels or ratings.

    Raises:
        InputError: The task asks for text.
    """

    name = "majority"

    def __init__(self, task: Task) -> None:
        if task.kind == "text":
            raise InputError(f"method majority answers with labels or ratings, but {task.name} asks for text")

    async def prepare(self, user: LampUser) -> "dspy.Module":
        """Count the answers in the history."""
        from ..programs.baselines.majority import Majority

        return Majority(user.history)


class PromptMethod:
    """The bare query, nothing about the user.

    Args:
        task: In which form answers come.
    """

    name = "prompt"

    def __init__(self, task: Task) -> None:
        self.task = task

    async def prepare(self, user: LampUser) -> "dspy.Module":
        """Make the same program for any user."""
        from ..programs.baselines.prompt import Prompt

        return Prompt(self.task)


class RagMethod:
    """The query and the k most similar interactions of the history.

    Args:
        task: In which form answers come.
        k: Interactions shown, at most.
        embedder: Compares by meaning; without one, BM25 compares words.
        name: Tells one such method from another.
    """

    def __init__(self, task: Task, *, k: int = 4, embedder: Embedder | None = None, name: str = "rag") -> None:
        self.task, self.k, self.embedder, self.name = task, k, embedder, name

    async def prepare(self, user: LampUser) -> "dspy.Module":
        """Index the history."""
        return await asyncio.to_thread(self._program, user)

    def _program(self, user: LampUser) -> "dspy.Module":
        from ..programs.baselines.rag import Rag
        from ..programs.baselines.retrievers import Bm25Retriever, DenseRetriever

        if self.embedder is None:
            return Rag(self.task, Bm25Retriever(user.history, self.task), self.k)
        return Rag(self.task, DenseRetriever(user.history, self.task, self.embedder), self.k)


METHODS: dict[str, Constructor] = {"majority": MajorityMethod, "prompt": PromptMethod, "rag": RagMethod}
"""The methods that need nothing but the task."""


def methods_named(
    names: Sequence[str], task: Task, others: Mapping[str, Constructor] | None = None
) -> tuple[Method, ...]:
    """Return the methods of these names, in this order.

    Args:
        names: Names from `METHODS` or `others`.
        task: The task that they are for.
        others: More methods by name; they go before those of the same name in `METHODS`.

    Raises:
        UnknownNameError: There is no such method.
        InputError: A method cannot do this task.

    Example:
        >>> methods_named(["majority", "rag"], task, {"rag": functools.partial(RagMethod, k=8)})
    """
    known = {**METHODS, **(others or {})}
    for name in names:
        if name not in known:
            raise UnknownNameError("method", name, list(known))
    return tuple(known[name](task) for name in names)
