from dataclasses import dataclass
from typing import Any

from dspy import LM
from dspy._vendor.lm15.router import Resolution

@dataclass(frozen=True)
class BackendSelection:
    native: bool
    resolution: Resolution  # None where an engine has no say, which is never `native`
    clients: dict[str, Any]

CLIENT_KEYS: set[str]

def select_backend(lm: LM, options: dict[str, Any] | None = None) -> BackendSelection: ...
