"""MLflow's mirror of a user's personas: a prompt version each, alias `live`, a run an alignment.

The store is the truth and this is a copy: MLflow itself tells what it lacks, so what could not be mirrored is mirrored
later, and a deleted copy is made again. Only this file imports MLflow. Names hold the user's key, never the user id.
Nothing is pickled: a program is its JSON.
"""

import json
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ..data.alignment import Alignment
from ..data.errors import TrackingError, without_secrets
from ..data.files import compact, private_file
from ..data.persona import PersonaVersion, persona_diff
from ..data.store import User
from ..programs import PersonaAgent

if TYPE_CHECKING:
    from mlflow import MlflowClient

_EXPERIMENT = "personaagent"
_ALL = 1000
_ALL_RUNS = 50_000
_NUMBER = "persona_version"
_QUIET = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class Erased(NamedTuple):
    """What MLflow had of a user."""

    prompt_versions: int
    runs: int
    kept: tuple[str, ...]
    """Deleted runs, by their ids, of which a server keeps names and numbers until its own `mlflow gc`."""
    is_compact: bool
    """Whether the files of MLflow's database hold nothing of what was deleted."""


class Tracker:
    """A mirror in an MLflow server or database, in an experiment of its own.

    Args:
        uri: MLflow's tracking and registry URI, `sqlite:///...` or a server's.
        artifacts: Where runs keep their artifacts, as a URI; by default where the server says.
    """

    experiment: ClassVar[str]

    def __init__(self, uri: str, artifacts: str | None = None) -> None:
        self.uri, self.artifacts = uri, artifacts

    def client(self) -> "MlflowClient":
        """Return a client that is quick to give up."""
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        if (file := self._file()) is not None:
            private_file(file)
        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def _file(self) -> Path | None:
        """Return MLflow's SQLite file, if that is what it is."""
        from sqlalchemy import make_url

        if not self.uri.startswith("sqlite:"):
            return None
        name = make_url(self.uri).database
        return Path(name) if name else None

    def experiment_id(self, client: "MlflowClient") -> str:
        """Return MLflow's id of the experiment, which is made if it is not there."""
        if (experiment := client.get_experiment_by_name(self.experiment)) is not None:
            return experiment.experiment_id
        return client.create_experiment(self.experiment, artifact_location=self.artifacts)


class PersonaTracker(Tracker):
    """Mirrors persona versions and alignments."""

    experiment = _EXPERIMENT

    def mirror(self, user: User, program_of: Callable[[PersonaVersion], PersonaAgent]) -> int:
        """Mirror what MLflow does not have yet of one user, and point the alias `live` to the live version.

        Args:
            user: Whose personas.
            program_of: Gives the program that speaks under a version; its state becomes an artifact.

        Returns:
            How many versions were mirrored; 0 if MLflow had them all.

        Raises:
            TrackingError: MLflow could not be reached or refused; what it lacks is mirrored next time.
        """
        with mlflow_errors(self.uri, "run `personaagent persona sync` when it is back"):
            client = self.client()
            experiment_id = self.experiment_id(client)
            versions = user.personas.versions()
            missing = [version for version in versions if version.number not in _registered(client, user.key)]
            for version in missing:
                _register(client, user, version, experiment_id)
            last_of = {version.alignment_id: version for version in versions if version.alignment_id is not None}
            for alignment_id in last_of.keys() - _logged(client, user, experiment_id):
                version = last_of[alignment_id]
                _log_run(client, experiment_id, user, version, program_of(version))
            _point_to_live(client, user)
        return len(missing)

    def erase(self, user_key: str) -> Erased:
        """Delete what is mirrored of a user: the prompt with all its versions, the runs and their artifacts.

        Where MLflow is a database of our own, nothing of it stays in the database. A server has no call for that.

        Raises:
            TrackingError: MLflow could not be reached or refused; erasing again goes on.
            StorageError: What was deleted is still in MLflow's SQLite file.
        """
        file = self._file()
        if file is not None and not file.exists():
            return Erased(0, 0, (), is_compact=True)
        with mlflow_errors(self.uri, "erase again"):
            client = self.client()
            prompt_versions = _delete_prompt(client, user_key)
            runs, kept = _delete_runs(client, self.uri, user_key)
        if file is not None:
            compact(file)
        return Erased(prompt_versions, runs, kept, is_compact=file is not None or not prompt_versions + runs)

    @property
    def is_elsewhere(self) -> bool:
        """Whether it is not a file of our own."""
        return self._file() is None


def _prompt_name(user_key: str) -> str:
    return f"persona.{user_key}"


def _registered(client: "MlflowClient", user_key: str) -> dict[int, int]:
    """Return MLflow's version numbers by ours."""
    from mlflow.exceptions import MlflowException

    try:
        mirrored = client.search_prompt_versions(_prompt_name(user_key), max_results=_ALL)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return {}
        raise
    return {int(mirror.tags[_NUMBER]): int(mirror.version) for mirror in mirrored}


def _logged(client: "MlflowClient", user: User, experiment_id: str) -> set[str]:
    """Return the ids of this user's alignments whose runs are complete."""
    finished = f"tags.user = '{user.key}' and attributes.status = 'FINISHED'"
    runs = client.search_runs([experiment_id], finished, max_results=_ALL)
    return {run.data.tags["alignment"] for run in runs}


def _point_to_live(client: "MlflowClient", user: User) -> None:
    if (live := user.personas.live) is not None:
        client.set_prompt_alias(_prompt_name(user.key), "live", _registered(client, user.key)[live.number])


def _register(client: "MlflowClient", user: User, version: PersonaVersion, experiment_id: str) -> None:
    tags = {
        _NUMBER: str(version.number),
        "parent": str(version.parent or ""),
        "alignment": version.alignment_id or "",
        "reason": version.reason,
        "fingerprint": version.persona.fingerprint,
        "_mlflow_experiment_ids": f",{experiment_id},",
    }
    client.register_prompt(_prompt_name(user.key), version.persona.text, commit_message=version.reason, tags=tags)


def _log_run(
    client: "MlflowClient", experiment_id: str, user: User, version: PersonaVersion, program: PersonaAgent
) -> None:
    """Log the alignment that made `version`, its last one."""
    alignment = user.alignments.get(version.alignment_id or "")
    tags = {"user": user.key, "alignment": alignment.alignment_id, _NUMBER: str(version.number)}
    run_id = client.create_run(experiment_id, run_name=f"{user.key} v{version.number}", tags=tags).info.run_id
    for name, value in alignment.settings.items():
        client.log_param(run_id, name, value if isinstance(value, str) else json.dumps(value))
    for name, value in _metrics(alignment, version).items():
        client.log_metric(run_id, name, value)
    losses = [loss.model_dump(mode="json") for loss in alignment.losses]
    client.log_text(run_id, json.dumps(losses, ensure_ascii=False, indent=1), "losses.json")
    client.log_text(run_id, persona_diff(alignment.base, version.persona), "persona.diff")
    client.log_text(run_id, json.dumps(program.dump_state(), ensure_ascii=False, indent=1), "program.json")
    client.set_terminated(run_id)


def _delete_prompt(client: "MlflowClient", user_key: str) -> int:
    """Delete a user's prompt; return how many versions it had."""
    from mlflow.exceptions import MlflowException

    versions = len(_registered(client, user_key))
    try:
        client.delete_prompt(_prompt_name(user_key))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    return versions


def _delete_runs(client: "MlflowClient", uri: str, user_key: str) -> tuple[int, tuple[str, ...]]:
    """Delete a user's runs and their artifacts; return how many they were, and which of them MLflow still keeps."""
    from mlflow.entities import ViewType
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    if (experiment := client.get_experiment_by_name(_EXPERIMENT)) is None:
        return 0, ()
    mine = f"tags.user = '{user_key}'"
    runs = client.search_runs([experiment.experiment_id], mine, ViewType.ALL, max_results=_ALL_RUNS)
    for run in runs:
        artifacts: Any = get_artifact_repository(run.info.artifact_uri or "", tracking_uri=uri)
        artifacts.delete_artifacts()
        if run.info.lifecycle_stage == "active":
            client.delete_run(run.info.run_id)
    run_ids = tuple(run.info.run_id for run in runs)
    return len(runs), () if _forgotten(client, run_ids) else run_ids


def _forgotten(client: "MlflowClient", run_ids: Sequence[str]) -> bool:
    """Take deleted runs out of the database, if MLflow's is one and not a server; return whether that is done."""
    # MLflow has no public call for it but the command `mlflow gc`, which takes out what others have deleted too.
    private: Any = client
    store = private._tracking_client.store
    if not hasattr(store, "_hard_delete_run"):
        return not run_ids
    for run_id in run_ids:
        store._hard_delete_run(run_id)
    return True


def _metrics(alignment: Alignment, version: PersonaVersion) -> dict[str, float]:
    spend: dict[str, Any] = alignment.spend.model_dump(exclude_none=True)
    return {
        **{name: float(value) for name, value in spend.items() if name != "schema_version"},
        "losses": float(len(alignment.losses)),
        "lines": float(len(version.persona.lines)),
        **version.scores,
    }


@contextmanager
def mlflow_errors(uri: str, remedy: str) -> Generator[None]:
    """Let MLflow's failures out as ours, with what to do, and without secrets.

    Raises:
        TrackingError: MLflow could not be reached or refused.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = str(error).splitlines()[0][:300]
        message = f"MLflow at {uri} failed ({reason}): {remedy}"
        raise TrackingError(without_secrets(message)) from error
