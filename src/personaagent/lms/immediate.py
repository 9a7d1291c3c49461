"""DSPy's engine interface over what has its answers at once: a script or a plan, no model and no network."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from typing import Self

from dspy.lm15 import DataPart, Message, Request, Response, TextPart, Usage, response_to_events


class ImmediateEngine(ABC):
    """Answers in the form of a JSON schema if one is asked for; copies of an LM share it."""

    supports_function_calling = False
    supports_response_schema = True
    supported_params = frozenset({"response_format", "temperature", "max_tokens", "stop"})

    @abstractmethod
    def answer(self, request: Request) -> tuple[str | DataPart, Usage]:
        """Return what is said, a text or a decision with its probabilities, and what that counts as."""

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def complete(self, request: Request) -> Response:
        """Return the answer."""
        said, usage = self.answer(request)
        message = Message.assistant([TextPart(said) if isinstance(said, str) else said])
        return Response(id=None, model=request.model, message=message, finish_reason="stop", usage=usage)

    def stream(self, request: Request) -> Iterator[object]:
        """Yield the whole answer as one piece."""
        return response_to_events(self.complete(request))

    def close(self) -> None:  # noqa: B027 - no engine that is immediate has anything open
        """Do nothing: nothing is open."""


class AsyncImmediateEngine:
    """The same answers, awaited."""

    def __init__(self, engine: ImmediateEngine) -> None:
        self._engine = engine

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    async def complete(self, request: Request) -> Response:
        """Return the answer."""
        return self._engine.complete(request)

    async def stream(self, request: Request) -> AsyncIterator[object]:
        """Yield the whole answer as one piece."""
        for event in self._engine.stream(request):
            yield event

    async def aclose(self) -> None:
        """Do nothing: nothing is open."""
