"""DSPy's engine interface: what a `dspy.LM` asks in place of a provider. Every engine here gives its answers whole."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from typing import Any

import dspy
from dspy.lm15 import DataPart, Message, Request, Response, TextPart, Usage, response_to_events

from ..data.nouns import Handle
from ..programs.module import in_thread


class Engine(Handle, ABC):
    """An engine that can be held to a JSON schema and calls no tools. Copies of an LM share it."""

    supports_function_calling = False
    supports_response_schema = True
    supported_params = frozenset({"response_format", "temperature", "max_tokens", "stop"})

    @abstractmethod
    def complete(self, request: Request) -> Response:
        """Return the answer.

        Raises:
            dspy.lm15.LM15Error: As DSPy expects of an engine, which makes a `dspy.LMError` of it.
        """

    def stream(self, request: Request) -> Iterator[object]:
        """Yield the whole answer as one piece."""
        return response_to_events(self.complete(request))

    def close(self) -> None:
        """Do nothing."""


class AsyncEngine(Handle):
    """An engine, awaited: it answers in a thread, with the context of the caller."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def complete(self, request: Request) -> Response:
        """Return the answer; raises as the engine does."""
        return await in_thread(self._engine.complete, request)

    async def stream(self, request: Request) -> AsyncIterator[object]:
        """Yield the whole answer as one piece."""
        for event in response_to_events(await self.complete(request)):
            yield event

    async def aclose(self) -> None:
        """Do nothing: the engine itself is closed where it was opened."""


def lm_of(engine: Engine, model: str, **settings: Any) -> dspy.LM:
    """Return an LM that asks an engine, without DSPy's cache."""
    return dspy.LM(model, engine=engine, async_engine=AsyncEngine(engine), cache=False, **settings)


class ImmediateEngine(Engine):
    """An engine that has its answers at once: a script or a plan, no model and no network."""

    @abstractmethod
    def answer(self, request: Request) -> tuple[str | DataPart, Usage]:
        """Return the answer, a text or a decision with its probabilities, and its usage."""

    def complete(self, request: Request) -> Response:
        """Return the answer."""
        answer, usage = self.answer(request)
        message = Message.assistant([TextPart(answer) if isinstance(answer, str) else answer])
        return Response(id=None, model=request.model, message=message, finish_reason="stop", usage=usage)
