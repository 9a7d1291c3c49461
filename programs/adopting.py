"""What other optimizers write into predictors, as JSON: instructions, demos and weights; never an LM or a key."""

import copy
from collections.abc import Mapping
from typing import Any

import dspy
from dspy.experimental import Choice
from pydantic import JsonValue
from pydantic_core import to_jsonable_python


def written_into(predictor: dspy.Predict, own: dspy.Predict) -> dict[str, JsonValue]:
    """Return what of a predictor differs.

    Args:
        predictor: As an optimizer left it.
        own: As the persona makes it.
    """
    state: dict[str, Any] = {}
    if not predictor.signature.equals(own.signature):
        state["signature"] = predictor.signature.dump_state()
    if demos := [shown for demo in predictor.demos if (shown := _shown(demo, predictor.signature))]:
        state["demos"] = demos
    if predictor.fields != own.fields:
        state["fields"] = copy.deepcopy(predictor.fields)
    return state


def take_up(predictor: dspy.Predict, state: Mapping[str, Any]) -> None:
    """Make a predictor as it was when `written_into` returned `state`."""
    if "signature" in state:
        predictor.signature = predictor.signature.load_state(state["signature"])
    predictor.demos = copy.deepcopy(state.get("demos", []))
    predictor.fields = copy.deepcopy(state.get("fields", predictor.fields))


def _shown(demo: Any, signature: type[dspy.Signature]) -> dict[str, JsonValue]:
    """Return the fields of a demo that the prompt shows; nothing of one without an answer, which is not shown."""
    fields = {name: demo[name] for name in signature.fields if name in demo}
    if not fields.keys() & signature.output_fields.keys():
        return {}
    plain = {name: value.value if isinstance(value, Choice) else value for name, value in fields.items()}
    return to_jsonable_python(plain)
