"""Names of LMs as the user wrote them: DSPy knows an LM on a server of one's own by a name that holds the server's."""

import re

_written: dict[str, str] = {}
_SERVER = re.compile(r"^server-[a-z0-9-]+-[0-9a-f]{6}/")


def note_name(model: str, written: str) -> None:
    """Remember how the user wrote the name of the model that DSPy knows as `model`."""
    _written[model] = written


def as_written(model: str) -> str:
    """Return a model's name as the user wrote it, here or in another process."""
    return _written.get(model) or _SERVER.sub("", model)
