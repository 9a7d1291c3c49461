"""How an agent works, whoever it works for."""

from typing import Literal

from pydantic import Field

from ..data.nouns import Noun

Preset = Literal["lean", "paper"]


class AgentSettings(Noun):
    """How an agent works, whoever it works for."""

    preset: Preset = "lean"
    """`lean`: recall without an LM, then one call. `paper`: three modules that each ask the LM, tools included."""
    k: int = Field(default=4, ge=1)
    """Episodes recalled for a query; in the paper, a memory search by the tool adds half as many."""
    min_tools: int = Field(default=2, ge=1)
    """Paper only: tools that must be used before an answer (at least two); recall is the first of them."""
    max_steps: int = Field(default=1, ge=1)
    """Paper only: choices of a tool after recall, at most; each costs a call. Small LMs drive no long loop."""
    memory: bool = True
    """Whether episodes are recalled and tools may look into the user's memory (paper: ablation "without memory")."""
    action: bool = True
    """Paper only: whether tools are used (ablation "without action")."""
    lines: bool = True
    """Whether the persona's lines stand in the instructions."""
    weights: bool = True
    """Whether answers are weighed, if the persona has answer weights. The paper has none."""
    votes: bool = True
    """Whether the user's memory votes among them."""

    @property
    def form(self) -> str:
        """What the prompts hold, by name: answer weights of one form do not suit another."""
        return f"{self.preset}:k={self.k if self.memory else 0}"
