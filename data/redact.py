"""Keys stay out of messages."""

import os
import re

_URL_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


def without_secrets(text: str, *more: str) -> str:
    """Return `text` without credentials in URLs, the values of key variables (`*_API_KEY`) and `more` keys."""
    text = _URL_CREDENTIALS.sub("", text)
    keys = [*more, *(value for name, value in os.environ.items() if name.endswith("_API_KEY"))]
    for key in sorted((key for key in keys if len(key) >= 8), key=len, reverse=True):
        text = text.replace(key, "(key)")
    return text
