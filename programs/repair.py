"""A second chance for an answer that could not be read: the LM sees what it wrote and answers again, once."""

from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError

_MAX_CHARACTERS = 2000
_ADVICE = "your earlier answer, which is not in the form that is asked for: answer again, in that form"


def repairing(unreadable: AdapterParseError, inputs: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs of the repair: the same, and the answer that could not be read.

    Args:
        unreadable: DSPy's error; it has the signature and the answer.
        inputs: The inputs of the call, by name.
    """
    field = dspy.InputField(desc=_ADVICE)
    signature = unreadable.signature.append("unreadable_answer", field, str)
    return {**inputs, "signature": signature, "unreadable_answer": unreadable.lm_response[:_MAX_CHARACTERS]}
