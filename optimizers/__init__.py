"""How a persona learns: propose changes, score them on what the user really did, accept what proves itself."""

from .evidence import EvidenceMode
from .initial_persona import initial_persona
from .persona_alignment import PersonaAlignment, examples
from .simulation import latest

__all__ = ["EvidenceMode", "PersonaAlignment", "examples", "initial_persona", "latest"]
