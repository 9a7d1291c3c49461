"""MLflow's mirror of evaluations: a run a method, and in it a run a task, with numbers and no text of any user.

The files are the truth and this is a copy: what could not be mirrored is mirrored with the next report.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from ..data.alignment import Spend
from ..optimizers.tracking import Tracker, mlflow_errors
from ..settings import Settings
from .record import fingerprint
from .report.analysis import Compared, MethodResult, TaskAnalysis

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "personaagent-evaluation"

_ALL = 1000
_PARENT = "mlflow.parentRunId"
_REMEDY = "run `personaagent report` again when it is back"


class EvaluationTracker(Tracker):
    """Mirrors evaluations."""

    experiment = EXPERIMENT

    def mirror(self, analyses: Sequence[TaskAnalysis]) -> int:
        """Mirror the methods that MLflow does not have yet of these evaluations, and return how many there were.

        Another task, another baseline or other answers make it another evaluation, which is mirrored anew.

        Raises:
            TrackingError: MLflow could not be reached or refused; what it lacks is mirrored next time.
        """
        identity = evaluation_fingerprint(analyses)
        with mlflow_errors(self.uri, _REMEDY):
            client = self.client()
            experiment_id = self.experiment_id(client)
            mirrored = _finished_else_removed(client, experiment_id, identity)
            methods = dict.fromkeys(name for analysis in analyses for name in analysis.methods)
            missing = [name for name in methods if name not in mirrored]
            for name in missing:
                _log_method(client, experiment_id, identity, name, analyses)
        return len(missing)


def open_tracker(settings: Settings) -> EvaluationTracker:
    """Return the mirror that the settings name: MLflow's URI, else a SQLite file in the home folder."""
    uri, artifacts = settings.mlflow
    if artifacts is not None:
        settings.home.mkdir(parents=True, exist_ok=True)
    return EvaluationTracker(uri, artifacts)


def evaluation_fingerprint(analyses: Sequence[TaskAnalysis]) -> str:
    """Return a hash of what was evaluated, what was answered, and the baseline; how long it took does not count."""
    evaluated = [
        [of.evaluation.protocol.model_dump_json(exclude={"seconds"}), fingerprint(of.evaluation.rows), of.baseline]
        for of in analyses
    ]
    return hashlib.sha256(json.dumps(evaluated).encode()).hexdigest()[:16]


def _finished_else_removed(client: "MlflowClient", experiment_id: str, identity: str) -> set[str]:
    """Return the methods of this evaluation whose runs are complete; what an interrupted mirror left is removed."""
    runs = client.search_runs([experiment_id], f"tags.evaluation = '{identity}'", max_results=_ALL)
    finished = {run.info.run_id for run in runs if run.info.status == "FINISHED" and _PARENT not in run.data.tags}
    for run in runs:
        if run.data.tags.get(_PARENT, run.info.run_id) not in finished:
            client.delete_run(run.info.run_id)
    return {run.data.tags["method"] for run in runs if run.info.run_id in finished}


def _log_method(
    client: "MlflowClient", experiment_id: str, identity: str, method: str, analyses: Sequence[TaskAnalysis]
) -> None:
    tags = {"evaluation": identity, "method": method}
    parent = client.create_run(experiment_id, run_name=method, tags=tags).info.run_id
    for analysis in analyses:
        if method in analysis.methods:
            name, tags_of_task = analysis.task.name, {**tags, "task": analysis.task.name, _PARENT: parent}
            run = client.create_run(experiment_id, run_name=f"{method} {name}", tags=tags_of_task)
            _log_task(client, run.info.run_id, analysis, method)
            client.set_terminated(run.info.run_id)
    client.set_terminated(parent)


def _log_task(client: "MlflowClient", run_id: str, analysis: TaskAnalysis, method: str) -> None:
    protocol, result = analysis.evaluation.protocol, analysis.methods[method]
    compared = [comparison for comparison in analysis.compared if comparison.method == method]
    params = protocol.model_dump(mode="json", include={"split", "seed", "online", "embedder", "run_id", "lms"})
    params |= {"users": protocol.n_users, "questions": protocol.n_questions, "baseline": analysis.baseline}
    for name, value in params.items():
        if name != "schema_version":
            client.log_param(run_id, name, value if isinstance(value, str) else json.dumps(value))
    for name, value in _metrics(result, compared):
        if value is not None and abs(value) < float("inf"):
            client.log_metric(run_id, name, value)
    for name, lines in _tables(result, compared).items():
        if lines:
            of_task = {"method": [method] * len(lines), "task": [analysis.task.name] * len(lines)}
            columns = {column: [line[column] for line in lines] for column in lines[0]}
            client.log_table(run_id, of_task | columns, f"{name}.json")


def _metrics(result: MethodResult, compared: Sequence[Compared]) -> Iterator[tuple[str, float | None]]:
    for metric, estimate in result.pooled.items():
        yield from ((metric, estimate.value), (f"{metric}.low", estimate.low), (f"{metric}.high", estimate.high))
    yield from ((f"{metric}.per_user", estimate.value) for metric, estimate in result.per_user.items())
    yield from ((f"{metric}.scored_only", value) for metric, value in result.summary.scored_only.items())
    yield from ((name, float(getattr(result.summary, name))) for name in ("n", "scored", "failed", "unparsed"))
    yield from ((name, getattr(result.summary.spend, name)) for name in Spend.model_fields)
    for comparison in compared:
        yield f"{comparison.metric}.difference", comparison.difference.value
        yield f"{comparison.metric}.difference.p_holm", comparison.adjusted_p


def _tables(result: MethodResult, compared: Sequence[Compared]) -> dict[str, list[dict[str, str | float | None]]]:
    """Return the lines of tables, which MLflow joins over runs: `mlflow.load_table("scores.json")`."""
    unknown = dict.fromkeys(("value", "low", "high"))
    per_user = {metric: asdict(estimate) for metric, estimate in result.per_user.items()}
    return {
        "scores": [
            {
                "metric": metric,
                **asdict(estimate),
                **{f"{name}_per_user": value for name, value in per_user.get(metric, unknown).items()},
                "value_scored_only": result.summary.scored_only.get(metric),
            }
            for metric, estimate in result.pooled.items()
        ],
        "differences": [
            {"metric": comparison.metric, **asdict(comparison.difference), "p_holm": comparison.adjusted_p}
            for comparison in compared
        ],
        "errors": [{"error": error, "questions": count} for error, count in result.errors.items()],
    }
