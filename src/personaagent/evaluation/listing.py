"""The methods that go by a name."""

from .baseline_methods import MajorityMethod, PromptMethod, RagMethod
from .methods import ListedMethod
from .personaagent_method import PersonaAgentMethod

_LISTED: tuple[type[ListedMethod], ...] = (MajorityMethod, PromptMethod, RagMethod, PersonaAgentMethod)

METHODS: dict[str, type[ListedMethod]] = {method.kind: method for method in _LISTED}
"""Methods by kind, in the order in which reports are usually read."""
