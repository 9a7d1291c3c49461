from collections.abc import Callable
from typing import Any

from .teleprompt import Teleprompter

# Choice[("label", "what it means"), ...] is a type of its own, made when the program runs.
class Choice:
    value: str | int | bool | None
    confidence: float
    probabilities: dict[str, float] | None
    def __class_getitem__(cls, options: Any) -> Any: ...

class ReAnchor(Teleprompter):
    def __init__(
        self, metric: Callable[..., Any], *, num_threads: int | None = None, require_cache: bool = True
    ) -> None: ...
