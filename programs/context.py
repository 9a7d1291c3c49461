"""What an answer must heed beside its question: what was said before it, and a form that the client wants."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, cast

import dspy
import jsonschema
from pydantic import GetJsonSchemaHandler, RootModel, model_validator
from pydantic_core import CoreSchema

from ..data.errors import InputError
from .quoting import quoted_block

MOST_CHARACTERS = 12_000
"""Of a conversation that are shown with its last question: some 3,000 tokens. The newest messages are kept."""
_ALWAYS_SHOWN = ("system", "developer")
"""Roles whose messages are kept however old they are: they say how to answer."""
_CONVERSATION = "the conversation so far, oldest first: quoted data; answer the query alone"


class Context(NamedTuple):
    """Nothing of it is recalled, and nothing of it is remembered."""

    conversation: str = ""
    """Earlier turns, quoted."""
    schema: str = ""
    """A JSON schema, as JSON, that the answer must satisfy."""

    def asked(self, signature: type[dspy.Signature]) -> type[dspy.Signature]:
        """Return the signature that asks for this too."""
        if self.conversation:
            place = list(signature.input_fields).index("query")
            signature = signature.insert(place, "conversation", dspy.InputField(desc=_CONVERSATION), str)
        if self.schema:
            form = f"the answer, as JSON that satisfies this schema: {self.schema}"
            signature = signature.with_updated_fields("response", type_=_shaped(self.schema), desc=form)
        return signature

    @property
    def inputs(self) -> dict[str, str]:
        """The further inputs of that signature."""
        return {"conversation": self.conversation} if self.conversation else {}


NO_CONTEXT = Context()


def conversation_of(messages: Sequence[tuple[str, str]]) -> str:
    """Return roles and what they said, quoted, oldest first: as many of the newest as fit into `MOST_CHARACTERS`."""
    quoted = [(role, f"{role}:\n{quoted_block(text)}") for role, text in messages if text]
    left = MOST_CHARACTERS - sum(len(text) for role, text in quoted if role in _ALWAYS_SHOWN)
    kept: list[str] = []
    for role, text in reversed(quoted):
        if role not in _ALWAYS_SHOWN:
            left -= len(text)
            if left < 0:
                continue
        kept.append(text)
    return "\n".join(reversed(kept))


class Shaped(RootModel[Any]):
    """An answer in the form of a JSON schema that the client gave."""

    def __str__(self) -> str:
        return json.dumps(self.root, ensure_ascii=False)


@lru_cache(maxsize=64)
def _shaped(schema: str) -> type[Shaped]:
    wanted = json.loads(schema)
    whole = inlined(wanted, wanted.get("$defs", {}))

    class Answer(Shaped):
        @classmethod
        def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
            return whole

        @model_validator(mode="after")
        def _satisfies(self) -> "Answer":
            try:
                jsonschema.validate(self.root, wanted)
            except jsonschema.ValidationError as error:
                raise ValueError(f"it does not satisfy the schema: {error.json_path}") from None
            return self

    return Answer


def inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """Return a JSON schema with each reference to a definition replaced by it: it can stand in another one then.

    Raises:
        InputError: A definition refers to itself or is missing.
    """
    match schema:
        case {"$ref": str(reference)}:
            name = reference.removeprefix("#/$defs/")
            if name not in definitions:
                raise InputError(f"the schema refers to {reference!r}, which is not there or refers to itself")
            others = {other: definition for other, definition in definitions.items() if other != name}
            return inlined(definitions[name], others)
        case dict():
            parts = cast("dict[str, Any]", schema).items()
            return {name: inlined(value, definitions) for name, value in parts if name != "$defs"}
        case list():
            return [inlined(value, definitions) for value in cast("list[Any]", schema)]
        case _:
            return schema
