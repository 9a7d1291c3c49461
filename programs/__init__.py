"""How a query becomes a response: recall, tool use and answer as DSPy modules under one user's persona."""

from .persona_agent import AgentSettings, PersonaAgent

__all__ = ["AgentSettings", "PersonaAgent"]
