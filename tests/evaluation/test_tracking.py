"""MLflow's mirror of evaluations, against a real MLflow on SQLite."""

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from personaagent.data.errors import TrackingError
from personaagent.data.task import Task
from personaagent.evaluation.record import FinishedEvaluation
from personaagent.evaluation.report import TaskAnalysis
from personaagent.evaluation.tracking import EXPERIMENT, EvaluationTracker, evaluation_fingerprint, open_tracker
from personaagent.settings import Settings

from .report import made_up

pytestmark = pytest.mark.slow


def analysis(of: Task = made_up.FILMS, baseline: str = "rag", run_id: str = "one") -> TaskAnalysis:
    protocol = made_up.protocol(of).model_copy(update={"run_id": run_id})
    return TaskAnalysis(FinishedEvaluation(protocol, tuple(made_up.rows(protocol)), ()), baseline)


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def tracker(uri: str, tmp_path: Path) -> EvaluationTracker:
    return EvaluationTracker(uri, tmp_path.as_uri())


def runs(uri: str, analyses: list[TaskAnalysis]) -> list[Run]:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    identity = evaluation_fingerprint(analyses)
    return list(client.search_runs([experiment.experiment_id], f"tags.evaluation = '{identity}'"))


def table(of: list[Run], name: str) -> list[dict[str, Any]]:
    """Return the rows of the table with this name of all runs that have it."""
    joined = MlflowClient().load_table(of[0].info.experiment_id, name, [run.info.run_id for run in of])
    return json.loads(str(joined.to_json(orient="records")))


def test_log_loss_and_calibration_error_are_mirrored(
    tracker: EvaluationTracker, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    protocol = made_up.protocol().model_copy(update={"run_id": "unsure"})
    unsure = tuple(made_up.with_probabilities(row) for row in made_up.rows(protocol))
    mirrored = [TaskAnalysis(FinishedEvaluation(protocol, unsure, ()), "rag")]
    tracker.mirror(mirrored)
    scores = {(line["method"], line["metric"]): line for line in table(runs(uri, mirrored), "scores.json")}
    result = mirrored[0].methods["rag"]
    assert scores["rag", "log_loss"]["value"] == pytest.approx(result.pooled["log_loss"].value)
    assert scores["rag", "calibration_error"]["value_per_user"] is None


def test_each_method_is_a_run_with_a_run_a_task_in_it(tracker: EvaluationTracker, uri: str) -> None:
    both = [analysis(run_id="each"), analysis(made_up.REVIEWS, run_id="each")]
    assert tracker.mirror(both) == 3
    mirrored = runs(uri, both)
    parents = {run.info.run_id: run for run in mirrored if "mlflow.parentRunId" not in run.data.tags}
    assert {run.info.run_name for run in parents.values()} == set(made_up.METHODS)
    nested = [run for run in mirrored if run.info.run_id not in parents]
    assert sorted(str(run.info.run_name) for run in nested) == sorted(
        f"{method} {task}" for method in made_up.METHODS for task in ("LaMP-2M", "LaMP-3")
    )
    for run in nested:
        assert parents[run.data.tags["mlflow.parentRunId"]].data.tags["method"] == run.data.tags["method"]
    assert {run.info.status for run in mirrored} == {"FINISHED"}


def test_a_task_has_its_numbers(tracker: EvaluationTracker, uri: str) -> None:
    films = analysis(run_id="numbers")
    tracker.mirror([films])
    [run] = [run for run in runs(uri, [films]) if run.info.run_name == "personaagent LaMP-2M"]
    result = films.methods["personaagent"]
    assert run.data.metrics["accuracy"] == result.pooled["accuracy"].value
    assert run.data.metrics["accuracy.low"] == result.pooled["accuracy"].low
    assert run.data.metrics["accuracy.per_user"] == result.per_user["accuracy"].value
    assert (run.data.metrics["n"], run.data.metrics["failed"], run.data.metrics["calls"]) == (24, 1, 90)
    assert "dollars" not in run.data.metrics, "what is not known is not logged"
    assert run.data.metrics["accuracy.difference"] == pytest.approx(5 / 24)
    assert (run.data.params["seed"], run.data.params["baseline"]) == ("7", "rag")


def test_tables_of_all_methods_are_one_for_who_loads_them(
    tracker: EvaluationTracker, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    films = analysis(run_id="tables")
    tracker.mirror([films])
    mirrored = runs(uri, [films])
    scores = {(line["method"], line["metric"]): line for line in table(mirrored, "scores.json")}
    assert {method for method, _ in scores} == set(made_up.METHODS)
    ours, result = scores["personaagent", "accuracy"], films.methods["personaagent"]
    assert (ours["task"], ours["value"]) == ("LaMP-2M", pytest.approx(result.pooled["accuracy"].value))
    assert (ours["low"], ours["high"]) == pytest.approx((result.pooled["accuracy"].low, result.pooled["accuracy"].high))
    assert ours["value_per_user"] == pytest.approx(result.per_user["accuracy"].value)

    differences = {(line["method"], line["metric"]): line["p_holm"] for line in table(mirrored, "differences.json")}
    assert differences == pytest.approx(
        {(comparison.method, comparison.metric): comparison.adjusted_p for comparison in films.compared}
    )

    failed = sum(line["questions"] for line in table(mirrored, "errors.json"))
    assert failed == sum(sum(result.errors.values()) for result in films.methods.values()) > 0


def test_what_mlflow_has_is_not_mirrored_twice(tracker: EvaluationTracker, uri: str) -> None:
    films = [analysis(run_id="twice")]
    assert tracker.mirror(films) == 3
    assert tracker.mirror([analysis(run_id="twice")]) == 0
    assert len(runs(uri, films)) == 6


def test_another_baseline_is_another_evaluation() -> None:
    assert evaluation_fingerprint([analysis()]) == evaluation_fingerprint([analysis()])
    assert evaluation_fingerprint([analysis()]) != evaluation_fingerprint([analysis(baseline="majority")])
    assert evaluation_fingerprint([analysis()]) != evaluation_fingerprint([analysis(), analysis(made_up.REVIEWS)])


def test_what_an_interrupted_mirror_left_is_made_anew(
    tracker: EvaluationTracker, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    films = [analysis(run_id="interrupted")]

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_table", fail)
        with pytest.raises(TrackingError, match="run `personaagent report` again"):
            tracker.mirror(films)
    assert {run.info.status for run in runs(uri, films)} == {"RUNNING"}
    assert tracker.mirror(films) == 3
    assert [run.info.status for run in runs(uri, films)] == ["FINISHED"] * 6


def test_no_text_of_a_user_is_mirrored(tracker: EvaluationTracker, uri: str, tmp_path: Path) -> None:
    tracker.mirror([analysis(made_up.HEADLINES)])
    stored = [path for path in (Path(uri.removeprefix("sqlite:///")).parent, tmp_path) for path in path.rglob("*")]
    content = b"".join(path.read_bytes() for path in stored if path.is_file())
    assert b"LaMP-4" in content
    assert made_up.SECRET.encode() not in content
    assert made_up.USERS[0].encode() not in content


def test_mlflow_out_of_reach_is_a_tracking_error_without_the_password() -> None:
    nobody_listens = EvaluationTracker("http://someone:hunter2@127.0.0.1:9")
    with pytest.raises(TrackingError, match="again when it is back") as failure:
        nobody_listens.mirror([analysis()])
    assert "hunter2" not in str(failure.value)


def test_the_mirror_is_where_the_settings_say(tmp_path: Path) -> None:
    in_home = open_tracker(Settings(home=tmp_path / "home"))
    assert in_home.uri == f"sqlite:///{tmp_path / 'home' / 'mlflow.db'}"
    assert in_home.artifacts == (tmp_path / "home" / "mlflow-artifacts").as_uri()
    server = open_tracker(Settings(home=tmp_path / "home", tracking_uri="http://127.0.0.1:5000"))
    assert (server.uri, server.artifacts) == ("http://127.0.0.1:5000", None)
