"""PersonaAgent: answers as one particular user would want, and learns how from what the user really did.

What a user of the package needs is here; nothing is imported before it is used, for DSPy and Chroma take their time.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .data.alignment import Alignment, Spend, TextualLoss
    from .data.errors import PersonaAgentError
    from .data.interaction import Interaction
    from .data.persona import Persona, PersonaLine, PersonaVersion
    from .data.task import Task
    from .home import Home
    from .journal.budget import Budget
    from .lms import open_lm
    from .optimizers.persona_alignment import PersonaAlignment
    from .programs.persona_agent import PersonaAgent
    from .settings import Settings

__all__ = [
    "Alignment",
    "Budget",
    "Home",
    "Interaction",
    "Persona",
    "PersonaAgent",
    "PersonaAgentError",
    "PersonaAlignment",
    "PersonaLine",
    "PersonaVersion",
    "Settings",
    "Spend",
    "Task",
    "TextualLoss",
    "open_lm",
]

_MODULES = {
    "Alignment": ".data.alignment",
    "Budget": ".journal.budget",
    "Home": ".home",
    "Interaction": ".data.interaction",
    "Persona": ".data.persona",
    "PersonaAgent": ".programs.persona_agent",
    "PersonaAgentError": ".data.errors",
    "PersonaAlignment": ".optimizers.persona_alignment",
    "PersonaLine": ".data.persona",
    "PersonaVersion": ".data.persona",
    "Settings": ".settings",
    "Spend": ".data.alignment",
    "Task": ".data.task",
    "TextualLoss": ".data.alignment",
    "open_lm": ".lms",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for."""
    if name == "__version__":
        return version("personaagent")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name], __name__), name)
    return value


def __dir__() -> list[str]:
    """List the public names, those not yet imported included."""
    return __all__
