from typing import Any

class Choice:
    value: str | int | bool | None
    confidence: float
    probabilities: dict[str, float] | None
    def __class_getitem__(cls, options: Any) -> Any: ...
