"""`personaagent report` from end to end, on an evaluation of made-up users."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from ..evaluation.report import made_up
from .command_line import CommandLine, done


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    films = made_up.protocol()
    return made_up.write(tmp_path / "out", films, made_up.records(films))


@pytest.mark.slow
def test_a_report_is_written_said_and_mirrored_once(personaagent: CommandLine, finished: Path) -> None:
    said = done(personaagent("report", finished)).out
    assert "LaMP-2M: No method differs from rag in accuracy beyond noise with 6 users." in said
    assert str(finished / "report" / "report.html") in said
    assert sorted(path.name for path in (finished / "report").iterdir()) == [
        "figures",
        "report.html",
        "report.md",
        "rows.jsonl",
        "rows.parquet",
    ]
    done(personaagent("report", finished))
    client = MlflowClient(tracking_uri=f"sqlite:///{personaagent.home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("personaagent-evaluation")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 6


def test_mlflow_out_of_reach_is_one_warning(personaagent: CommandLine, finished: Path) -> None:
    variables = {"PERSONAAGENT_TRACKING_URI": "http://127.0.0.1:9"}
    without = CommandLine(personaagent.home, personaagent.server, variables)
    finished_anyway = done(without("report", finished, "--numbers-only", "--baseline", "majority", "--json"))
    [task] = finished_anyway.json["tasks"]
    assert (task["task"], task["baseline"], task["users"]) == ("LaMP-2M", "majority", 6)
    assert task["methods"]["personaagent"]["failed"] == 1
    assert str(finished / "report" / "report.md") in finished_anyway.json["files"]
    assert not (finished / "report" / "rows.jsonl").exists()
    assert finished_anyway.err.count("MLflow at http://127.0.0.1:9 failed") == 1


def test_what_cannot_be_reported_is_said_in_a_line(personaagent: CommandLine, finished: Path, tmp_path: Path) -> None:
    unknown = personaagent("report", finished, "--baseline", "guess")
    assert (unknown.code, "unknown baseline 'guess'" in unknown.err) == (2, True)
    empty = personaagent("report", tmp_path / "nowhere")
    assert (empty.code, "holds no finished evaluation" in empty.err) == (2, True)
