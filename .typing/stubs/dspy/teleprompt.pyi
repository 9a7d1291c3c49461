from typing import Any

from dspy import Module

class Teleprompter:
    def __init__(self) -> None: ...
    # compile(student, *, trainset, teacher=None, valset=None, **kwargs), which each optimizer narrows to the programs
    # that it can optimise and widens by arguments of its own.
    def compile(self, *args: Any, **kwargs: Any) -> Module: ...
    def get_params(self) -> dict[str, Any]: ...
