"""Methods on tasks: rows first, totals from rows."""

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
from .events import EvaluationStarted, Event, Listener, QuestionAnswered, UserPrepared
from .job import evaluate
from .listing import METHODS
from .methods import ListedMethod, Method, methods_named
from .official import Metrics, official_metrics
from .optimizer_methods import BootstrapMethod, GepaMethod, MiproMethod, ReAnchorMethod
from .personaagent_method import PersonaAgentMethod
from .rows import Row
from .selection import select
from .summary import Evaluation, MethodSummary, metrics_over_scored, summarise
from .workbench import Workbench

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
    "Row",
    "UserPrepared",
    "VotesMethod",
    "Workbench",
    "evaluate",
    "methods_named",
    "metrics_over_scored",
    "official_metrics",
    "select",
    "summarise",
]
