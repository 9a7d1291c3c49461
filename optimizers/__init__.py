"""How a persona learns: simulate, measure the textual loss, revise, accept."""

from .evidence import EvidenceMode
from .initial_persona import initial_persona
from .persona_alignment import PersonaAlignment, examples
from .sampling import latest

__all__ = ["EvidenceMode", "PersonaAlignment", "examples", "initial_persona", "latest"]
