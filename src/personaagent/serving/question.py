"""What the server is asked, and what it answers."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from ..data.alignment import Spend
from ..data.interaction import Interaction
from ..data.task import Task
from ..programs.context import NO_CONTEXT, Context
from .idempotency import new_id


@dataclass(frozen=True)
class Question:
    """What is asked of the server."""

    query: str
    task: Task
    """In which form the answer comes."""
    context: Context = NO_CONTEXT
    remembered: bool = True
    """Whether memory is used, and the exchange stored."""
    tell: Callable[[str], None] | None = None
    """Hears the answer in pieces as it is written, in another thread."""
    interaction_id: str = field(default_factory=new_id)


@dataclass(frozen=True)
class Answer:
    """An answer, stored if it is to be remembered."""

    interaction: Interaction
    spend: Spend
    remembered: bool = True
    without_memory: bool = False
    """Whether it was given without the user's episodes, which could not be reached or were not wanted."""


def taken(answering: "asyncio.Future[Answer]") -> None:
    """Take the exception of an answer that nobody waits for: asyncio would log it, with an LM's words in it."""
    if not answering.cancelled():
        answering.exception()
