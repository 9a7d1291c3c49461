"""What OpenAI's API answers with."""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, Field

from .question import Answer

MODEL = "personaagent"
_WORDS_A_CHUNK = 8


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


def chunks_of(answer: Answer, model: str, *, with_usage: bool) -> Iterator[dict[str, Any]]:
    """Yield an answer as the chunks of a stream."""
    whole = completion_of(answer, model).model_dump(mode="json")
    usage, choices = whole.pop("usage"), whole.pop("choices")
    shared = {**whole, "object": "chat.completion.chunk"}

    def chunk(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
        return {**shared, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}

    yield chunk({"role": "assistant", "content": ""})
    words = choices[0]["message"]["content"].split(" ")
    for start in range(0, len(words), _WORDS_A_CHUNK):
        more = " " if start + _WORDS_A_CHUNK < len(words) else ""
        yield chunk({"content": " ".join(words[start : start + _WORDS_A_CHUNK]) + more})
    yield chunk({}, "stop")
    if with_usage:
        yield {**shared, "choices": [], "usage": usage}
