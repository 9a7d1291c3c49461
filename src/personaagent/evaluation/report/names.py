"""What a method's name says about it: which are ablations of one system, which a series over a number."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from ..listing import METHODS

WHOLE = "personaagent"
"""The system that ablations are ablations of."""

_WITHOUT = "without"


@dataclass(frozen=True)
class Series:
    """Methods that differ in one number only."""

    option: str
    fixed: str
    """What they share: the kind and the other unusual options."""
    points: tuple[tuple[int, str], ...]
    """The number and the method's name, smallest first; at least two."""


def ablations(names: Iterable[str]) -> dict[str, str]:
    """Return the methods of the ablation table by what they lack; the whole system first, as `nothing`.

    Empty if the whole system is missing, or all its ablations are.
    """
    names = tuple(names)
    lacking = {name.removeprefix(f"{WHOLE}:{_WITHOUT}="): name for name in names if _is_ablation(name)}
    return {"nothing": WHOLE, **lacking} if WHOLE in names and lacking else {}


def series(names: Iterable[str]) -> tuple[Series, ...]:
    """Return every series of two or more methods, by option."""
    points: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for name in names:
        kind, options = name.partition(":")[0], _options(name)
        for option, value in options.items():
            if value.isdecimal():
                others = {other: said for other, said in options.items() if other != option}
                points[option, _name(kind, others)][int(value)] = name
    return tuple(
        Series(option, fixed, tuple(sorted(found.items())))
        for (option, fixed), found in sorted(points.items())
        if len(found) > 1
    )


def is_variant(name: str) -> bool:
    """Whether a method is the whole system with something changed, of which other drawings tell."""
    return name.startswith(f"{WHOLE}:")


def _is_ablation(name: str) -> bool:
    return name.startswith(f"{WHOLE}:{_WITHOUT}=") and "," not in name


def _defaults(kind: str) -> dict[str, str]:
    fields = METHODS[kind].model_fields if kind in METHODS else {}
    return {option: str(field.default) for option, field in fields.items()}


def _options(name: str) -> dict[str, str]:
    """Return every option of a method, those too that the name leaves out because they are as usual."""
    kind, _, written = name.partition(":")
    said = (option.partition("=") for option in written.split(",") if option)
    return {**_defaults(kind), **{option: value for option, _, value in said}}


def _name(kind: str, options: dict[str, str]) -> str:
    unusual = [f"{option}={value}" for option, value in options.items() if _defaults(kind).get(option) != value]
    return f"{kind}:{','.join(unusual)}" if unusual else kind
