"""What work would cost: the same program runs, and an LM that is not there adds up the worst case of every call."""

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import dspy
from dspy.lm15 import Request, Usage

from ..data.call import NOTHING, Cost
from ..lms.engines import ImmediateEngine, lm_of
from .budget import Price, price_of
from .engine import most_tokens, request_json, worst_case
from .run import AGENT, by_role

_WORDS = "an answer of about this length, which stands for the one that the model would give here " * 3


class Plan:
    """The calls that work would make, by role: how many, and what they may cost at most.

    Answers are made up, of ordinary length: what later prompts hold of earlier answers may be longer in truth. An
    answer that cannot be read is asked for a second time, and a call that fails up to three times more; neither is
    counted.
    """

    def __init__(self, lms: "Mapping[str, dspy.LM]", price: str | None) -> None:
        self.costs: dict[str, Cost] = {}
        self.stopped: str | None = None
        self.result: str | None = None
        self.lms = {
            role: lm_of(_PlanningEngine(self, role, price_of(lm, price)), lm.model, max_tokens=most_tokens(lm))
            for role, lm in by_role(lms).items()
        }

    @property
    def total(self) -> Cost:
        """The worst case of all calls."""
        return sum(self.costs.values(), start=NOTHING)

    def lm(self, role: str) -> dspy.LM:
        """Return the LM that stands for the one of a role."""
        return self.lms[role]

    def add(self, role: str, worst: Cost) -> None:
        """Count one call."""
        self.costs[role] = self.costs.get(role, NOTHING) + worst


@contextmanager
def planned(lms: "Mapping[str, dspy.LM]", price: str | None = None) -> Generator[Plan]:
    """Let no call be made to these LMs inside, and count what each would cost; for the price see `price_of`."""
    plan = Plan(lms, price)
    with dspy.context(lm=plan.lm(AGENT), trace=None, disable_history=True):
        yield plan


class _PlanningEngine(ImmediateEngine):
    def __init__(self, plan: Plan, role: str, price: Price | None) -> None:
        self._plan, self._role, self._price = plan, role, price

    def answer(self, request: Request) -> tuple[str, Usage]:
        self._plan.add(self._role, worst_case(request, request_json(request), self._price))
        schema = (request.config.response_format or {}).get("schema", {})
        return json.dumps(_example(json.loads(json.dumps(schema, default=dict)))), Usage()


def _example(schema: dict[str, Any], definitions: dict[str, Any] | None = None) -> Any:
    """Return a value in the form of a JSON schema: the first of several choices, texts of ordinary length."""
    known: dict[str, Any] = schema.get("$defs", {}) if definitions is None else definitions
    match schema:
        case {"$ref": str(reference)}:
            value = _example(known[reference.rpartition("/")[2]], known)
        case {"const": value} | {"enum": [value, *_]}:
            pass
        case {"anyOf": [first, *_]}:
            value = _example(first, known)
        case {"type": "object"}:
            value = {name: _example(inner, known) for name, inner in schema.get("properties", {}).items()}
        case {"type": "array"}:
            value = [_example(schema["items"], known)] * max(3, schema.get("minItems", 1))
        case {"type": "boolean"}:
            value = True
        case {"type": "integer" | "number"}:
            value = schema.get("minimum", 1)
        case _:
            value = _WORDS
    return value
