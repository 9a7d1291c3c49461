"""Packages that only some uses need."""

from collections.abc import Generator
from contextlib import contextmanager

from .errors import SetupError


@contextmanager
def needing(extra: str) -> Generator[None]:
    """Say how to install what is imported inside, if it is not there.

    Args:
        extra: The extra of `personaagent` that brings it.

    Raises:
        SetupError: It is not there.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise SetupError(f"this needs the package {error.name}: pip install 'personaagent[{extra}]'") from error
