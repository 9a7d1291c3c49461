"""The bases of nouns, frozen values with a JSON round trip and a schema version, and of handles."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self, cast

from pydantic import BaseModel, ConfigDict, JsonValue, SerializerFunctionWrapHandler, model_serializer, model_validator


def _with_schema_version(schema: dict[str, JsonValue]) -> None:
    properties = schema.setdefault("properties", {})
    if isinstance(properties, dict):
        properties["schema_version"] = {"type": "integer", "title": "Schema Version"}


class Noun(BaseModel):
    """A frozen value that is written with its `schema_version` and refuses one that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_with_schema_version)

    schema_version: ClassVar[int] = 1

    @model_serializer(mode="wrap")
    def _write_schema_version(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        return {"schema_version": self.schema_version, **handler(self)}

    @model_validator(mode="before")
    @classmethod
    def _check_schema_version(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        fields = cast("dict[str, object]", value)
        version = fields.get("schema_version", cls.schema_version)
        if version != cls.schema_version:
            raise ValueError(
                f"schema_version is {version!r}, this release reads {cls.schema_version}: update personaagent"
            )
        return {name: field for name, field in fields.items() if name != "schema_version"}

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with some fields changed; what was computed of the old fields is computed anew."""
        copy = super().model_copy(update=update, deep=deep)
        values = vars(copy)
        for computed in values.keys() - type(self).model_fields.keys():
            del values[computed]
        return copy

    def to_json(self) -> str:
        """Return the noun as one line of JSON."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote.

        Raises:
            pydantic.ValidationError: The text is not JSON, or not this noun.
        """
        return cls.model_validate_json(text)


class Handle:
    """Copies of it, deep ones too, are itself: a program that is copied keeps the same user, store and engine."""

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self
