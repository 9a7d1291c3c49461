"""A server by its URL, as DSPy is told of it: it speaks OpenAI's protocol as most servers do, and errors in any way."""

import json
import re
from dataclasses import fields, replace
from typing import Any, cast

from dspy.lm15 import (
    AccessPolicy,
    AsyncOpenAIChatLM,
    ContextLengthError,
    ModelSupport,
    OpenAIChatCompat,
    OpenAIChatLM,
    ProviderDefinition,
    ProviderError,
    register_provider,
)

_LONGEST_REASON = 500
_TOO_LONG = re.compile(r"(?:maximum )?context (?:length|window|size)|prompt is too long", re.IGNORECASE)
_OPENAIS_OWN = ("gpt-5", "o1", "o3", "o4")
"""Models that refuse `max_tokens`; other servers know nothing else."""
_AS_MOST_SERVERS_DO = OpenAIChatCompat(
    max_tokens_field="max_tokens",
    model_overrides=tuple((prefix, {"max_tokens_field": "max_completion_tokens"}) for prefix in _OPENAIS_OWN),
)


def declare_server(name: str, url: str, key_variables: tuple[str, ...]) -> None:
    """Declare a server to DSPy."""
    access = AccessPolicy(provider=name, base_url=url, env_keys=key_variables)
    definition = ProviderDefinition.chat(
        access, compat=_AS_MOST_SERVERS_DO, placeholder_key=None if key_variables else "none"
    )
    register_provider(
        replace(definition, adapter=_Chat, async_adapter=_AsyncChat),
        supports=ModelSupport(function_calling=True, response_schema=True),
    )


class _Chat(OpenAIChatLM):
    """Says why a server refused, in whatever JSON it said so: DSPy reads OpenAI's own form alone."""

    def normalize_error(self, status: int, body: str) -> ProviderError:
        error: Any = OpenAIChatLM.normalize_error(self, status, body)
        if not isinstance(error.message, str) or not error.message.strip():
            error.message = _reason(body) or f"status {status}"
            error.args = (error.message,)
        if status in (400, 413, 422) and _TOO_LONG.search(error.message):
            return ContextLengthError(error.message, provider=self.provider, status=status)
        return error


class _AsyncChat(AsyncOpenAIChatLM):
    """The same, awaited."""

    def __post_init__(self) -> None:
        super().__post_init__()
        inner = self._inner
        self._inner = _Chat(**{field.name: getattr(inner, field.name) for field in fields(inner) if field.init})


def _reason(body: str) -> str:
    """Return what the body of an error says: its text or message, else the JSON as it is."""
    try:
        value: Any = json.loads(body)
    except ValueError:
        value = body
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        value = fields.get("message", fields.get("detail"))
    return (value if isinstance(value, str) else body).strip()[:_LONGEST_REASON]
