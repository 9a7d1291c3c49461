"""Finished evaluations of made-up users, on disk."""

from pathlib import Path

import pytest

from personaagent.evaluation.report import TaskAnalysis, WrittenReport, write_report
from personaagent.testing import HashEmbedder

from . import made_up

SWEPT = (
    *made_up.METHODS,
    "rag:k=8",
    "personaagent:n=5",
    "personaagent:without=alignment",
    "personaagent:without=persona",
)


@pytest.fixture(scope="session")
def embedder() -> HashEmbedder:
    return HashEmbedder()


def write_both(folder: Path, backwards: bool = False) -> Path:
    """Write two tasks: one has ablations, sweeps and personas, the other neither."""
    films = made_up.protocol(methods=SWEPT)
    made_up.write(folder / "LaMP-2M", films, made_up.records(films), backwards)
    made_up.write(folder / "LaMP-3", made_up.protocol(made_up.REVIEWS), (), backwards)
    return folder


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory, embedder: HashEmbedder) -> WrittenReport:
    """The report on two tasks; a test leaves it as it is."""
    return write_report(write_both(tmp_path_factory.mktemp("reported")), embedder=embedder)


@pytest.fixture(scope="session")
def analyses(reported: WrittenReport) -> tuple[TaskAnalysis, ...]:
    return reported.analyses
