"""The first persona: the paper's template, filled with what semantic memory says about the user."""

from collections.abc import Iterable

from ..data.persona import Persona, PersonaLine
from ..data.statement import Statement
from ..programs.persona_agent import Preset

_TEMPLATE = (
    PersonaLine(
        section="preferences",
        text="Take more than two actions to work out what this user prefers.",
    ),
    PersonaLine(
        section="preferences",
        text="Where this user's past answers differ from what most people would say, follow the user.",
    ),
    PersonaLine(section="tool_use", text="Think step by step about which information is needed."),
    PersonaLine(section="tool_use", text="Use at least TWO tools before answering."),
    PersonaLine(
        section="tool_use",
        text="Use tools with precision, and different tools for different facts.",
    ),
    PersonaLine(section="style", text="Give a clear and short final answer, with NO explanation."),
)


def initial_persona(statements: Iterable[Statement], preset: Preset = "lean") -> Persona:
    """Return `statements`, each a line caused by its evidence; in the paper, in the paper's template.

    To align with interactions later on, pass only statements abstracted from older ones: otherwise the persona already
    holds the answers that are simulated. `memory.before(oldest_of_the_batch).statements()` are such statements.
    """
    template = _TEMPLATE if preset == "paper" else ()
    known = (
        PersonaLine(section="profile", text=statement.text, causes=statement.evidence, kind="statement")
        for statement in statements
    )
    return Persona(lines=(*known, *template))
