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
)

METHODS: dict[str, type[ListedMethod]] = {method.kind: method for method in _LISTED}
"""Methods by kind: those without an LM, the paper's baselines, PersonaAgent."""
