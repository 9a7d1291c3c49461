# DSPy's bundled client is typed by itself; only what DSPy adds to it is written down here.

from collections.abc import Mapping
from dataclasses import dataclass

from dspy._vendor.lm15 import *
from dspy._vendor.lm15.compat import OpenAIChatCompat as OpenAIChatCompat
from dspy._vendor.lm15.registry import ProviderDefinition as ProviderDefinition

@dataclass(frozen=True)
class ModelSupport:
    function_calling: bool | None = None
    reasoning: bool | None = None
    response_schema: bool | None = None

@dataclass(frozen=True)
class RegisteredProvider:
    definition: ProviderDefinition

def register_provider(
    definition: ProviderDefinition,
    *,
    supports: ModelSupport | None = None,
    models: Mapping[str, ModelSupport] | None = None,
    metadata_namespaces: tuple[str, ...] = (),
    replace: bool = False,
) -> RegisteredProvider: ...
def registered_providers() -> tuple[RegisteredProvider, ...]: ...
def unregister_provider(provider: str) -> None: ...
