"""Who is asked: at which address, on whose key."""

import os

import dspy

from .opening import key_variable, refuse_credentials


def endpoint_of(lm: dspy.LM) -> str:
    """Return where an LM is asked: a URL, else its provider; the kind of its engine if it runs in this process.

    Raises:
        InputError: The URL holds a password.
    """
    if not isinstance(lm.engine, str):
        return type(lm.engine).__qualname__
    endpoint = str(lm.kwargs.get("api_base") or lm.kwargs.get("base_url") or lm.model.partition("/")[0])
    refuse_credentials(endpoint)
    return endpoint


def key_of(lm: dspy.LM) -> str:
    """Return the key that an LM has now; empty if none."""
    return str(lm.kwargs.get("api_key") or os.environ.get(key_variable(lm.model), ""))


def with_its_key(lm: dspy.LM) -> dspy.LM:
    """Return a copy that keeps the key that the LM has now, whatever key the environment has later.

    Without it, DSPy reads the environment at the first call, and all copies of the LM hold on to what it finds then.
    """
    key = key_of(lm)
    return lm.copy(api_key=key) if key and isinstance(lm.engine, str) else lm.copy()
