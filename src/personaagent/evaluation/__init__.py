"""Methods on tasks: rows first, totals from rows."""

from .agent_methods import BootstrapMethod, GepaMethod, MiproMethod, PersonaAgentMethod, ReAnchorMethod
from .answering import UserPrepared
from .data import select
from .methods import (
    IclMethod,
    KnnMethod,
    ListedMethod,
    MajorityMethod,
    MemBankMethod,
    Method,
    PagMethod,
    PriorMethod,
    PromptMethod,
    RagMethod,
    ReActMethod,
    VotesMethod,
)
from .metrics import Metrics, official_metrics
from .names import METHODS, methods_named
from .record import Row
from .resources import Resources
from .run import EvaluationStarted, Event, Listener, QuestionAnswered, evaluate
from .summary import Evaluation, MethodSummary, summarise

__all__ = [
    "METHODS",
    "BootstrapMethod",
    "Evaluation",
    "EvaluationStarted",
    "Event",
    "GepaMethod",
    "IclMethod",
    "KnnMethod",
    "ListedMethod",
    "Listener",
    "MajorityMethod",
    "MemBankMethod",
    "Method",
    "MethodSummary",
    "Metrics",
    "MiproMethod",
    "PagMethod",
    "PersonaAgentMethod",
    "PriorMethod",
    "PromptMethod",
    "QuestionAnswered",
    "RagMethod",
    "ReActMethod",
    "ReAnchorMethod",
    "Resources",
    "Row",
    "UserPrepared",
    "VotesMethod",
    "evaluate",
    "methods_named",
    "official_metrics",
    "select",
    "summarise",
]
