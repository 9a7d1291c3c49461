"""A module that speaks under a persona: its instructions are the persona's text and the contract of its signature."""

from weakref import WeakValueDictionary

import dspy

from ..data.persona import Persona
from .module import Module

_in_use: WeakValueDictionary[tuple[type[dspy.Signature], str], type[dspy.Signature]] = WeakValueDictionary()
"""Signatures by their base and instructions: many users begin with the same persona, and one takes 3 ms to derive."""


class SpeakingModule(Module):
    """One predictor whose instructions are persona + contract, always derived from the same base signature.

    Deriving a signature from an earlier derivation makes DSPy's chain of field copies grow until it fails (after about
    140 generations); deriving from the base keeps it at one.

    Args:
        base: The signature whose docstring is the contract.
    """

    def __init__(self, base: type[dspy.Signature]) -> None:
        super().__init__()
        self.base = base
        self.predict = dspy.Predict(base)

    def speak_under(self, persona: Persona) -> None:
        """Replace the instructions by `persona` and the contract."""
        instructions = f"{persona.text}\n\n{self.base.instructions}"
        if (derived := _in_use.get((self.base, instructions))) is None:
            derived = _in_use[self.base, instructions] = self.base.with_instructions(instructions)
        self.predict.signature = derived
