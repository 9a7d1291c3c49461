"""A module that speaks under a persona: its instructions are the persona's text and the contract of its signature."""

from collections.abc import Sequence
from weakref import WeakValueDictionary

import dspy

from ..data.persona import SECTIONS, Persona, Section
from .module import Module

_in_use: WeakValueDictionary[tuple[type[dspy.Signature], str], type[dspy.Signature]] = WeakValueDictionary()
"""Signatures by their base and instructions: many users begin with the same persona, and one takes 3 ms to derive."""


class SpeakingModule(Module):
    """One predictor whose instructions are persona + contract, always derived from the same base signature.

    Deriving a signature from an earlier derivation makes DSPy's chain of field copies grow until it fails (after about
    140 generations); deriving from the base keeps it at one.

    Args:
        base: The signature whose docstring is the contract.
        sections: Those of the persona that the module can act on; they follow the contract, which all users share. None
            puts the whole persona before it, as the paper does.
    """

    def __init__(self, base: type[dspy.Signature], sections: Sequence[Section] | None = None) -> None:
        super().__init__()
        self.base, self.sections = base, sections
        self.predict = dspy.Predict(base)

    def speak_under(self, persona: Persona) -> None:
        """Replace the instructions by `persona` and the contract."""
        if self.sections is None:
            instructions = f"{persona.text}\n\n{self.base.instructions}"
        else:
            instructions = f"{self.base.instructions}\n\n{persona.text_of(self.sections)}".rstrip()
        if (derived := _in_use.get((self.base, instructions))) is None:
            derived = _in_use[self.base, instructions] = self.base.with_instructions(instructions)
        self.predict.signature = derived

    def add_lines(self, persona: Persona) -> None:
        """Let the lines of `persona` follow the instructions that another optimizer wrote."""
        if lines := persona.text_of(SECTIONS if self.sections is None else self.sections):
            signature = self.predict.signature
            self.predict.signature = signature.with_instructions(f"{signature.instructions}\n\n{lines}")
