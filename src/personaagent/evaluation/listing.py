"""The methods that go by a name."""

from .baseline_methods import (
    IclMethod,
    KnnMethod,
    MajorityMethod,
    MemBankMethod,
    PagMethod,
    PriorMethod,
    PromptMethod,
    RagMethod,
    ReActMethod,
    VotesMethod,
)
from .methods import ListedMethod
from .optimizer_methods import BootstrapMethod, GepaMethod, MiproMethod, ReAnchorMethod
from .personaagent_method import PersonaAgentMethod

_LISTED: tuple[type[ListedMethod], ...] = (
    MajorityMethod,
    PriorMethod,
    VotesMethod,
    KnnMethod,
    PromptMethod,
    IclMethod,
    RagMethod,
    PagMethod,
    ReActMethod,
    MemBankMethod,
    PersonaAgentMethod,
    BootstrapMethod,
    GepaMethod,
    MiproMethod,
    ReAnchorMethod,
)

METHODS: dict[str, type[ListedMethod]] = {method.kind: method for method in _LISTED}
"""Methods by kind: those without an LM, the paper's baselines, PersonaAgent, and DSPy's own optimizers of its agent."""
