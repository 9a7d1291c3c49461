from collections.abc import Callable
from typing import Any

from .teleprompt import Teleprompter

# Choice[("label", "what it means"), ...] is a type of its own, made when the program runs.
Choice: Any

class ReAnchor(Teleprompter):
    def __init__(
        self, metric: Callable[..., Any], *, num_threads: int | None = None, require_cache: bool = True
    ) -> None: ...
