"""Families of methods that answer one question together: what each part is worth, what more of a number buys."""

from collections.abc import Iterable

from ..data.errors import InputError
from .personaagent_method import PersonaAgentMethod

PARTS = ("weights", "votes", "lines", "memory", "alignment")
"""What an ablation takes away."""

ABLATIONS = tuple(PersonaAgentMethod.model_validate({"without": part}).name for part in (None, *PARTS))
"""The whole system, and the system without each of its parts."""

SWEPT = ("n", "iterations", "k")
"""Numbers of PersonaAgent whose scaling is of interest: alignment batch, rounds, episodes recalled."""


def swept(sweeps: Iterable[str]) -> tuple[str, ...]:
    """Return the methods of sweeps, PersonaAgent with each value of a number.

    Args:
        sweeps: A number and its values each, `n=1,3,5`.

    Raises:
        InputError: One is not of this form, or names another number.

    Example:
        >>> swept(["n=1,3"])
        ('personaagent:n=1', 'personaagent')
    """
    return tuple(name for sweep in sweeps for name in _swept(sweep))


def _swept(sweep: str) -> Iterable[str]:
    number, equals, values = sweep.partition("=")
    if (
        number not in SWEPT
        or not equals
        or not all(value.isdecimal() and int(value) > 0 for value in values.split(","))
    ):
        raise InputError(f"sweep {sweep!r}: write it as n=1,3,5; what can be swept is {', '.join(SWEPT)}")
    return (PersonaAgentMethod.model_validate({number: value}).name for value in values.split(","))
