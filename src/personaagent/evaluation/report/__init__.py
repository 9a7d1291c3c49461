"""Reports of finished evaluations: what was run, what came of it, and how sure that is."""

from .analysis import Compared, MethodResult, TaskAnalysis, analyse
from .sections import reading, report_of
from .writing import WrittenReport, write_report

__all__ = [
    "Compared",
    "MethodResult",
    "TaskAnalysis",
    "WrittenReport",
    "analyse",
    "reading",
    "report_of",
    "write_report",
]
