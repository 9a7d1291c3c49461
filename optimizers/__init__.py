"""How a persona learns: simulate, measure the textual loss, revise, accept."""

from .initial_persona import initial_persona
from .persona_alignment import PersonaAlignment, examples
from .sampling import LatestInteractions

__all__ = ["LatestInteractions", "PersonaAlignment", "examples", "initial_persona"]
