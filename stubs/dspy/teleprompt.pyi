from collections.abc import Callable, Mapping
from typing import Any

from dspy import BaseLM, Module

class Teleprompter:
    def __init__(self) -> None: ...
    # compile(student, *, trainset, teacher=None, valset=None, **kwargs), which each optimizer narrows to the programs
    # that it can optimise and widens by arguments of its own.
    def compile(self, *args: Any, **kwargs: Any) -> Module: ...
    def get_params(self) -> dict[str, Any]: ...

class BootstrapFewShot(Teleprompter):
    def __init__(
        self,
        metric: Callable[..., Any] | None = None,
        metric_threshold: float | None = None,
        teacher_settings: dict[str, Any] | None = None,
        max_bootstrapped_demos: int = 4,
        max_labeled_demos: int = 16,
    ) -> None: ...

class GEPA(Teleprompter):
    def __init__(
        self,
        metric: Callable[..., Any],
        *,
        max_metric_calls: int | None = None,
        reflection_lm: BaseLM | None = None,
        num_threads: int | None = None,
        gepa_kwargs: Mapping[str, Any] | None = None,
    ) -> None: ...

class MIPROv2(Teleprompter):
    def __init__(
        self,
        metric: Callable[..., Any],
        prompt_model: BaseLM | None = None,
        *,
        max_bootstrapped_demos: int = 4,
        max_labeled_demos: int = 4,
        auto: str | None = "light",
        num_candidates: int | None = None,
        num_threads: int | None = None,
        track_stats: bool = True,
        metric_threshold: float | None = None,
    ) -> None: ...
