"""What users write in Python, by name: a metric, a method, a tool."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from .errors import InputError


def own(kind: str, name: str) -> Any:
    """Import a function or class of one's own.

    Args:
        kind: What it is to be: `metric`, `method`, `tool`.
        name: `module:name`. The module is looked for where Python looks, then in the working directory.

    Raises:
        InputError: There is none, or the module cannot be imported.

    Example:
        >>> own("metric", "my_metrics:starts_alike")
        <function starts_alike at ...>
    """
    place, _, attribute = name.partition(":")
    if not place or not attribute.isidentifier():
        raise InputError(f"{kind} {name!r}: write it as module:name, like my_{kind}s:my_{kind} in my_{kind}s.py")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    try:
        module = import_module(place)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{place}.".startswith(f"{error.name}."):
            raise InputError(f"{kind} {name!r}: there is no module {place!r} in {here} or where Python looks") from None
        raise InputError(f"{kind} {name!r}: importing {place!r} fails: {type(error).__name__}: {error}") from error
    found = getattr(module, attribute, None)
    if found is None:
        written = [known for known, value in vars(module).items() if getattr(value, "__module__", None) == place]
        has = ", ".join(known for known in written if not known.startswith("_")) or "no function of its own"
        raise InputError(f"{kind} {name!r}: module {place!r} has no {attribute!r}; it has {has}")
    if not callable(found):
        raise InputError(f"{kind} {name!r} is no function or class, but {type(found).__name__}")
    return found
