"""Keys stay out of messages."""

import os
import re

_URL_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


def without_secrets(text: str) -> str:
    """Return `text` without credentials in URLs and without the values of key variables (`*_API_KEY`)."""
    text = _URL_CREDENTIALS.sub("", text)
    keys = [value for name, value in os.environ.items() if name.endswith("_API_KEY") and len(value) >= 8]
    for key in sorted(keys, key=len, reverse=True):
        text = text.replace(key, "(key)")
    return text
