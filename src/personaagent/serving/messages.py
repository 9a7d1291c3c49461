"""What a chat request says: the question, what was said before it, and what is the client's own business."""

import json
import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ..programs.quoting import quoted_block
from .configuration import MAX_TEXT
from .problems import Problem

MOST_CHARACTERS = 12_000
"""Of a conversation that are shown with its last question: some 3,000 tokens. The newest turns are kept."""
_LAID_DOWN = ("system", "developer")
"""Roles whose messages are kept however old they are: they say how to answer."""
_SHOWN = {"image_url": "[an image]", "input_audio": "[a recording]", "file": "[a file]"}
_CHORE = re.compile(r"\b(title|tags?|follow[- ]?ups?|summar\w+|emoji|search quer\w+|autocomplet\w+)\b", re.IGNORECASE)
_CHAT = re.compile(
    r"<chat_history>|\b(chat|conversation) history\b|^\W*(user|assistant|human|ai):", re.IGNORECASE | re.MULTILINE
)
_OF_THE_CHAT = re.compile(
    r"\b(title|name|summary|tags)\b[^.\n]{0,40}\b(chat|conversation|dialog(ue)?)\b", re.IGNORECASE
)
_HEAD = 400
"""Characters in which a chore says what it is."""

Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]


class Part(BaseModel):
    """A part of a message; what is no text is shown as that it was there."""

    model_config = ConfigDict(extra="ignore")

    type: str = Field(max_length=100)
    text: Text | None = None
    refusal: Text | None = None

    @property
    def words(self) -> str:
        """What it says."""
        return self.text or self.refusal or ""


class Function(BaseModel):
    """What a tool was asked."""

    model_config = ConfigDict(extra="ignore")

    name: str = Field(default="", max_length=200)
    arguments: Text = ""


class ToolCall(BaseModel):
    """A tool that the assistant asked for."""

    model_config = ConfigDict(extra="ignore")

    function: Function = Function()


class Message(BaseModel):
    """A message of a conversation."""

    model_config = ConfigDict(extra="ignore")

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
        others = [_SHOWN.get(part.type, f"[{part.type}]") for part in parts if not part.words]
        calls = [f"[asked {call.function.name}({call.function.arguments})]" for call in self.tool_calls or ()]
        return "\n".join(part for part in (self.words, *others, *calls) if part)


def question_of(messages: Sequence[Message]) -> tuple[str, str]:
    """Return the last message of the user, which is the question, and the rest as a conversation.

    Raises:
        Problem: There is none, or it says nothing in text.
    """
    place = max((place for place, message in enumerate(messages) if message.role == "user"), default=None)
    if place is None:
        raise Problem(400, "messages: one must be the user's.")
    asked = messages[place]
    if not asked.words.strip():
        raise Problem(400, "messages: the user's last one must say something in text: nothing else is read.")
    return asked.words, _conversation([*messages[:place], *messages[place + 1 :]])


def is_chore(query: str) -> bool:
    """Whether a client asks for something of its own, such as a title for the chat: it is no memory of the user."""
    head = query[:_HEAD]
    return bool(_CHORE.search(head) and _CHAT.search(query)) or bool(_OF_THE_CHAT.search(head))


def _conversation(messages: Sequence[Message]) -> str:
    """Return the messages, quoted, oldest first, as many of the newest as have room."""
    turns = [(message, f"{message.role}:\n{quoted_block(message.shown)}") for message in messages if message.shown]
    room = MOST_CHARACTERS - sum(len(turn) for message, turn in turns if message.role in _LAID_DOWN)
    kept: list[str] = []
    for message, turn in reversed(turns):
        if message.role not in _LAID_DOWN:
            room -= len(turn)
            if room < 0:
                continue
        kept.append(turn)
    return "\n".join(reversed(kept))


def schema_of(response_format: "ResponseFormat | None") -> str:
    """Return the JSON schema that an answer must satisfy, as JSON; empty if it may be any text."""
    if response_format is None or response_format.type == "text":
        return ""
    if response_format.json_schema is None:
        return json.dumps({"type": "object"})
    return json.dumps(response_format.json_schema.schema_, sort_keys=True)


class JsonSchema(BaseModel):
    """The form that a client wants."""

    model_config = ConfigDict(extra="ignore")

    schema_: dict[str, object] = Field(alias="schema")


class ResponseFormat(BaseModel):
    """OpenAI's `response_format`."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None
