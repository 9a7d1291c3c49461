"""How a query becomes a response: recall, tool use and answer as DSPy modules under one user's persona."""

from .agent_settings import AgentSettings
from .persona_agent import PersonaAgent

__all__ = ["AgentSettings", "PersonaAgent"]
