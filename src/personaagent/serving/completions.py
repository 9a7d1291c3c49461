"""OpenAI's chat completions: what requests say, and what they are answered with."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ..data.errors import AnswerError
from ..programs.context import conversation_of
from .answering import Answer
from .configuration import MAX_TEXT
from .problems import Problem

MODEL = "personaagent"
_PLACEHOLDERS = {"image_url": "[an image]", "input_audio": "[a recording]", "file": "[a file]"}
_CHORE = re.compile(r"\b(title|tags?|follow[- ]?ups?|summar\w+|emoji|search quer\w+|autocomplet\w+)\b", re.IGNORECASE)
_CHAT = re.compile(
    r"<chat_history>|\b(chat|conversation) history\b|^\W*(user|assistant|human|ai):", re.IGNORECASE | re.MULTILINE
)
_OF_THE_CHAT = re.compile(
    r"\b(title|name|summary|tags)\b[^.\n]{0,40}\b(chat|conversation|dialog(ue)?)\b", re.IGNORECASE
)
_CHORE_CHARACTERS = 400
"""In which a chore says what it is."""

Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]


class Part(BaseModel):
    """A part of a message; what is no text is shown as that it was there."""

    type: str = Field(max_length=100)
    text: Text | None = None
    refusal: Text | None = None

    @property
    def words(self) -> str:
        """What it says."""
        return self.text or self.refusal or ""


class Function(BaseModel):
    """What a tool was asked."""

    name: str = Field(default="", max_length=200)
    arguments: Text = ""


class ToolCall(BaseModel):
    """A tool that the assistant asked for."""

    function: Function = Function()


class Message(BaseModel):
    """A message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Text | list[Part] | None = None
    refusal: Text | None = None
    tool_calls: list[ToolCall] | None = None

    @property
    def words(self) -> str:
        """What it says in text."""
        if isinstance(self.content, list):
            return "\n".join(part.words for part in self.content if part.words)
        return self.content or self.refusal or ""

    @property
    def shown(self) -> str:
        """What it says, and what else there was."""
        parts = self.content if isinstance(self.content, list) else ()
        others = [_PLACEHOLDERS.get(part.type, f"[{part.type}]") for part in parts if not part.words]
        calls = [f"[asked {call.function.name}({call.function.arguments})]" for call in self.tool_calls or ()]
        return "\n".join(part for part in (self.words, *others, *calls) if part)


class StreamOptions(BaseModel):
    """What a stream has besides the answer."""

    include_usage: bool = False


class JsonSchema(BaseModel):
    """The form that a client wants."""

    schema_: dict[str, object] = Field(alias="schema")


class ResponseFormat(BaseModel):
    """OpenAI's `response_format`."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class ChatRequest(BaseModel):
    """A request for an answer. Settings of OpenAI's that are not named here are taken and have no effect."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"model": MODEL, "messages": [{"role": "user", "content": "A film for tonight?"}]}]
        },
    )

    model: str = Field(max_length=100, description="`personaagent`, or `personaagent/TASK` for an answer in its form.")
    messages: list[Message] = Field(
        min_length=1, description="The user's last message is the question, and all that is remembered."
    )
    stream: bool = False
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    store: bool | None = Field(default=None, description="false: answer without memory, and remember nothing.")

    @property
    def wants_usage(self) -> bool:
        """Whether the stream is to end with the tokens used."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def wanted_schema(self) -> str:
        """The JSON schema that the answer must satisfy; empty if it may be any text."""
        wanted = self.response_format
        if wanted is None or wanted.type == "text":
            return ""
        if wanted.json_schema is None:
            return json.dumps({"type": "object"})
        return json.dumps(wanted.json_schema.schema_, sort_keys=True)

    def question(self) -> tuple[str, str]:
        """Return the last message of the user, which is the question, and the rest as a conversation."""
        of_user = [place for place, message in enumerate(self.messages) if message.role == "user"]
        if not of_user:
            raise Problem(400, "messages: one must be the user's.")
        asked = self.messages[of_user[-1]]
        if not asked.words.strip():
            raise Problem(400, "messages: the user's last one must say something in text: nothing else is read.")
        others = [*self.messages[: of_user[-1]], *self.messages[of_user[-1] + 1 :]]
        return asked.words, conversation_of([(message.role, message.shown) for message in others])


def is_chore(query: str) -> bool:
    """Return whether a client asks for something of its own, such as a title for the chat: no memory of the user."""
    head = query[:_CHORE_CHARACTERS]
    return bool(_CHORE.search(head) and _CHAT.search(query)) or bool(_OF_THE_CHAT.search(head))


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
    exchange = answer.interaction
    prompt, completion = answer.spend.prompt_tokens, answer.spend.completion_tokens
    return ChatCompletion(
        id=f"chatcmpl-{exchange.interaction_id}",
        created=int(exchange.at.timestamp()) if exchange.at else 0,
        model=model,
        choices=[Choice(message=SaidMessage(content=exchange.response or ""))],
        usage=Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion),
        personaagent=Origin(
            interaction_id=exchange.interaction_id,
            persona_version=exchange.persona_version,
            remembered=answer.remembered,
            without_memory=answer.without_memory,
        ),
    )


class Chunks:
    """An answer as the chunks of a stream."""

    def __init__(self, interaction_id: str, model: str) -> None:
        self._model = model
        self._shared: dict[str, Any] = {
            "id": f"chatcmpl-{interaction_id}",
            "object": "chat.completion.chunk",
            "created": int(datetime.now(UTC).timestamp()),
            "model": model,
        }
        self._sent = ""

    def of(self, piece: str) -> Iterator[dict[str, Any]]:
        """Yield a piece of the answer, and before the first the role of the assistant."""
        if not self._sent:
            yield self._chunk({"role": "assistant", "content": ""})
        self._sent += piece
        yield self._chunk({"content": piece})

    def rest(self, answer: Answer, *, with_usage: bool) -> Iterator[dict[str, Any]]:
        """Yield what was not sent yet, and the end; `AnswerError` if what was sent is not how the answer begins."""
        whole = answer.interaction.response or ""
        if not whole.startswith(self._sent):
            raise AnswerError("the answer was written anew while it was sent")
        yield from self.of(whole[len(self._sent) :]) if whole != self._sent else ()
        completion = completion_of(answer, self._model).model_dump(mode="json")
        origin = {"personaagent": completion["personaagent"]}
        yield {**self._chunk({}, "stop"), **origin}
        if with_usage:
            yield {**self._shared, "choices": [], "usage": completion["usage"], **origin}

    def _chunk(self, delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
        return {**self._shared, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}
