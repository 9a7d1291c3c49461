"""What OpenAI's API answers with."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from ..data.errors import AnswerError
from .question import Answer

MODEL = "personaagent"


class Usage(BaseModel):
    """Tokens of every call to the LM that the answer took."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class SaidMessage(BaseModel):
    """The answer."""

    role: Literal["assistant"] = "assistant"
    content: str


class Choice(BaseModel):
    """The one answer that there is."""

    index: Literal[0] = 0
    message: SaidMessage
    finish_reason: Literal["stop"] = "stop"


class Origin(BaseModel):
    """Where an answer came from: what feedback on it names."""

    interaction_id: str
    persona_version: int | None
    remembered: bool = Field(description="Whether the exchange is stored; a client's own tasks are not.")
    without_memory: bool = Field(description="Whether the user's memory could not be reached, or was not wanted.")


class ChatCompletion(BaseModel):
    """An answer."""

    id: str = Field(examples=["chatcmpl-5f1c0a9be2d34c6788aa01b2"])
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    personaagent: Origin


class ModelCard(BaseModel):
    """A model that can be named in a request."""

    id: str
    object: Literal["model"] = "model"
    created: Literal[0] = 0
    owned_by: str = MODEL


class ModelList(BaseModel):
    """The models that there are."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


def completion_of(answer: Answer, model: str) -> ChatCompletion:
    """Return an answer in OpenAI's form."""
    one = answer.interaction
    prompt, completion = answer.spend.prompt_tokens, answer.spend.completion_tokens
    return ChatCompletion(
        id=f"chatcmpl-{one.interaction_id}",
        created=int(one.at.timestamp()) if one.at else 0,
        model=model,
        choices=[Choice(message=SaidMessage(content=one.response or ""))],
        usage=Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion),
        personaagent=Origin(
            interaction_id=one.interaction_id,
            persona_version=one.persona_version,
            remembered=answer.remembered,
            without_memory=answer.without_memory,
        ),
    )


class Chunks:
    """An answer as the chunks of a stream.

    Args:
        interaction_id: Of the answer.
        model: As the client named it.
    """

    def __init__(self, interaction_id: str, model: str) -> None:
        self._model = model
        self._shared: dict[str, Any] = {
            "id": f"chatcmpl-{interaction_id}",
            "object": "chat.completion.chunk",
            "created": int(datetime.now(UTC).timestamp()),
            "model": model,
        }
        self._said = ""

    def of(self, piece: str) -> Iterator[dict[str, Any]]:
        """Yield a piece of the answer, and before the first who says it."""
        if not self._said:
            yield self._chunk({"role": "assistant", "content": ""})
        self._said += piece
        yield self._chunk({"content": piece})

    def rest(self, answer: Answer, *, with_usage: bool) -> Iterator[dict[str, Any]]:
        """Yield what was not said yet, and the end.

        Raises:
            AnswerError: What was said is not how the answer begins.
        """
        whole = answer.interaction.response or ""
        if not whole.startswith(self._said):
            raise AnswerError("the answer was written anew while it was sent")
        yield from self.of(whole[len(self._said) :]) if whole != self._said else ()
        completion = completion_of(answer, self._model).model_dump(mode="json")
        origin = {"personaagent": completion["personaagent"]}
        yield {**self._chunk({}, "stop"), **origin}
        if with_usage:
            yield {**self._shared, "choices": [], "usage": completion["usage"], **origin}

    def _chunk(self, delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
        return {**self._shared, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}
