"""Text from outside as everything here can hold it: no database takes NUL, and no file half a surrogate pair."""

from typing import Any, cast


def clean(text: str) -> str:
    """Return a text without NUL, and with U+FFFD in place of each half of a surrogate pair."""
    return text.replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def all_clean(value: Any) -> Any:
    """Return a JSON value with every text in it clean."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [all_clean(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {clean(str(key)): all_clean(item) for key, item in cast("dict[Any, Any]", value).items()}
    return value
