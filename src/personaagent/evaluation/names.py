"""Methods by name: which there are, what a name says, and which methods of a report belong together."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from ..data.errors import InputError, UnknownNameError, did_you_mean
from ..data.task import Task
from .agent_methods import BootstrapMethod, GepaMethod, MiproMethod, PersonaAgentMethod, ReAnchorMethod
from .methods import (
    IclMethod,
    KnnMethod,
    ListedMethod,
    MajorityMethod,
    MemBankMethod,
    PagMethod,
    PriorMethod,
    PromptMethod,
    RagMethod,
    ReActMethod,
    VotesMethod,
)
from .own_methods import OwnMethod, ProgramMethod

WITHOUT_LM = (MajorityMethod, PriorMethod, VotesMethod, KnnMethod)
_BASELINES = (PromptMethod, IclMethod, RagMethod, PagMethod, ReActMethod, MemBankMethod)
_OPTIMIZERS = (BootstrapMethod, GepaMethod, MiproMethod, ReAnchorMethod)

METHODS: dict[str, type[ListedMethod]] = {
    method.kind: method for method in (*WITHOUT_LM, *_BASELINES, PersonaAgentMethod, *_OPTIMIZERS)
}
"""Methods by kind: those without an LM, the paper's baselines, PersonaAgent, and DSPy's own optimizers of its agent."""

WHOLE = PersonaAgentMethod.kind
"""The system that ablations are ablations of."""

ABLATIONS = (WHOLE, *(f"{WHOLE}:without={part}" for part in ("weights", "votes", "lines", "memory", "alignment")))
"""The whole system, and the system without each of its parts."""

SWEPT = ("n", "iterations", "k")
"""Numbers of PersonaAgent whose scaling is of interest: alignment batch, rounds, episodes recalled."""


def methods_named(names: Sequence[str], task: Task) -> tuple[ListedMethod, ...]:
    """Return the methods of these names, in this order, for a task.

    A name is one of `METHODS`, with options (`rag:k=8,retriever=dense`); a function or class of one's own
    (`my_module:MyMethod`, see `OwnMethod`); or a saved agent (`program.json`, see `ProgramMethod`).

    Raises:
        UnknownNameError: There is no such method.
        InputError: It has no such option, cannot do this task, or is not what a method of one's own must be.
    """
    methods = tuple(_method_named(name) for name in names)
    for method in methods:
        method.check(task)
    return methods


def _method_named(name: str) -> ListedMethod:
    kind, options = _split(name)
    if kind not in METHODS:
        if name.endswith(".json"):
            return ProgramMethod(file=Path(name))
        if ":" in name and "=" not in name:
            return OwnMethod(maker=name)
        raise UnknownNameError("method", kind, [*METHODS, "module:name of your own", "program.json"])
    try:
        return METHODS[kind].model_validate(options)
    except ValidationError as error:
        first, defaults = error.errors()[0], _defaults(kind)
        option, said, near = ".".join(map(str, first["loc"])), first["msg"], ""
        if first["type"] == "extra_forbidden":
            said, near = "there is no such option", did_you_mean(option, defaults)
        known = ", ".join(f"{name}={default}" for name, default in defaults.items()) or "no options"
        raise InputError(f"method {name!r}: option {option!r}: {said}; {kind} takes {known}{near}") from error


def swept(sweeps: Iterable[str]) -> tuple[str, ...]:
    """Return the methods of sweeps: of `n=1,3`, they are `personaagent:n=1` and `personaagent`.

    Raises:
        InputError: One is not of this form, or names another number.
    """
    names: list[str] = []
    for sweep in sweeps:
        number, _, written = sweep.partition("=")
        values = written.split(",")
        if number not in SWEPT or not all(value.isdecimal() and int(value) > 0 for value in values):
            raise InputError(f"sweep {sweep!r}: write it as n=1,3,5; what can be swept is {', '.join(SWEPT)}")
        names += (PersonaAgentMethod.model_validate({number: value}).name for value in values)
    return tuple(names)


class Series(NamedTuple):
    """Methods that differ in one number only."""

    option: str
    fixed: str
    """What they share: the kind and the other options."""
    points: tuple[tuple[int, str], ...]
    """The number and the method's name, smallest first; at least two."""


def series(names: Iterable[str]) -> tuple[Series, ...]:
    """Return every series of two or more methods, by option."""
    points: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for name in names:
        kind, written = _split(name)
        options = {**_defaults(kind), **written}
        for option, value in options.items():
            if value.isdecimal():
                others = {other: said for other, said in options.items() if other != option}
                points[option, _name(kind, others)][int(value)] = name
    return tuple(
        Series(option, fixed, tuple(sorted(found.items())))
        for (option, fixed), found in sorted(points.items())
        if len(found) > 1
    )


def ablations(names: Iterable[str]) -> dict[str, str]:
    """Return the methods of the ablation table by what they lack; the whole system first, as `nothing`.

    Empty if the whole system is missing, or all its ablations are.
    """
    names, prefix = tuple(names), f"{WHOLE}:without="
    lacking = {name.removeprefix(prefix): name for name in names if name.startswith(prefix) and "," not in name}
    return {"nothing": WHOLE, **lacking} if WHOLE in names and lacking else {}


def is_variant(name: str) -> bool:
    """Whether a method is the whole system with something changed."""
    return name.startswith(f"{WHOLE}:")


def _split(name: str) -> tuple[str, dict[str, str]]:
    kind, _, written = name.partition(":")
    options = (option.partition("=") for option in written.split(",") if option)
    return kind, {option: value for option, _, value in options}


def _defaults(kind: str) -> dict[str, str]:
    fields = METHODS[kind].model_fields if kind in METHODS else {}
    return {option: str(field.default) for option, field in fields.items()}


def _name(kind: str, options: dict[str, str]) -> str:
    defaults = _defaults(kind)
    written = [f"{option}={value}" for option, value in options.items() if defaults.get(option) != value]
    return f"{kind}:{','.join(written)}" if written else kind
