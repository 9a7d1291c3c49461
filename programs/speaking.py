"""A module that speaks under a persona: its instructions are the persona's text and the contract of its signature."""

import dspy

from ..data.persona import Persona
from .driver import DrivenModule


class SpeakingModule(DrivenModule):
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
        self.predict.signature = self.base.with_instructions(f"{persona.text}\n\n{self.base.instructions}")
