"""Methods on tasks: rows first, totals from rows."""

from .events import EvaluationStarted, Event, Listener, QuestionAnswered, UserPrepared
from .methods import METHODS, Constructor, MajorityMethod, Method, PromptMethod, RagMethod, methods_named
from .official import Metrics, official_metrics
from .ours import metrics_over_scored
from .rows import Row
from .runner import evaluate
from .selection import select
from .summary import Evaluation, MethodSummary, summarise

__all__ = [
    "METHODS",
    "Constructor",
    "Evaluation",
    "EvaluationStarted",
    "Event",
    "Listener",
    "MajorityMethod",
    "Method",
    "MethodSummary",
    "Metrics",
    "PromptMethod",
    "QuestionAnswered",
    "RagMethod",
    "Row",
    "UserPrepared",
    "evaluate",
    "methods_named",
    "metrics_over_scored",
    "official_metrics",
    "select",
    "summarise",
]
