"""MLflow's mirror, against a real MLflow on SQLite."""

import json
from collections.abc import Callable
from pathlib import Path

import dspy
import pytest
from mlflow import MlflowClient

from personaagent.data.errors import TrackingError
from personaagent.data.interaction import Interaction
from personaagent.data.persona import Persona, PersonaLine, PersonaVersion, persona_diff
from personaagent.data.store import Store, User
from personaagent.data.task import OPEN
from personaagent.optimizers import PersonaAlignment, examples
from personaagent.optimizers.tracking import Erased, PersonaTracker
from personaagent.programs import AgentSettings, PersonaAgent
from personaagent.testing import ScriptedLM

from .conftest import HISTORY_LENGTH, interaction

SECRET_ID = "maya"
PAPER = AgentSettings(preset="paper")


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def tracker(uri: str, tmp_path: Path) -> PersonaTracker:
    return PersonaTracker(uri, tmp_path.as_uri())


def program_of(user: User) -> Callable[[PersonaVersion], PersonaAgent]:
    def program(version: PersonaVersion) -> PersonaAgent:
        return PersonaAgent(OPEN, user.memory, persona=version.persona, tools=[], settings=PAPER)

    return program


def aligned(user: User, lm: ScriptedLM) -> tuple[PersonaVersion, ...]:
    base = user.personas.live or user.personas.add(
        Persona(lines=(PersonaLine(section="profile", text="Uses {{braces}} and {% signs %}."),)),
        reason="first",
        status="live",
    )
    agent = PersonaAgent(OPEN, user.memory, tools=[], settings=PAPER)
    agent.speak_under(base.persona, base.number)
    with dspy.context(lm=lm):
        program = PersonaAlignment(mode="paper", n=2).compile(agent, trainset=examples(user.interactions.all()))
    return user.alignments.add(program.alignment)


def client(uri: str) -> MlflowClient:
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@pytest.mark.slow
def test_every_version_is_a_prompt_version_and_live_is_an_alias(
    tracker: PersonaTracker, uri: str, user: User, lm: ScriptedLM
) -> None:
    [second] = aligned(user, lm)
    assert tracker.mirror(user, program_of(user)) == 2
    name = f"persona.{user.key}"
    first = client(uri).get_prompt_version(name, 1)
    live = client(uri).get_prompt_version_by_alias(name, "live")
    assert first is not None
    assert live is not None
    assert first.template == user.personas.get(1).persona.text, "braces are text, not variables"
    assert live.template == second.persona.text
    assert live.tags["alignment"] == second.alignment_id
    assert live.tags["parent"] == "1"
    assert tracker.mirror(user, program_of(user)) == 0

    user.personas.promote(1, "rolled back")
    tracker.mirror(user, program_of(user))
    again_live = client(uri).get_prompt_version_by_alias(name, "live")
    assert again_live is not None
    assert again_live.version == 1


def test_an_alignment_is_one_run_with_losses_diff_and_program(
    tracker: PersonaTracker, uri: str, store: Store, lm: ScriptedLM
) -> None:
    user = store.add_user("another made-up user")
    user.interactions.add([one.model_copy(update={"position": 0}) for one in _history()])
    [version] = aligned(user, lm)
    tracker.mirror(user, program_of(user))
    mlflow = client(uri)
    experiment = mlflow.get_experiment_by_name("personaagent")
    assert experiment is not None
    [run] = mlflow.search_runs([experiment.experiment_id], f"tags.user = '{user.key}'")
    assert run.info.status == "FINISHED"
    assert run.data.params["mode"] == "paper"
    assert run.data.params["n"] == "2"
    assert run.data.metrics["calls"] == 9
    assert run.info.artifact_uri is not None
    artifacts = Path(run.info.artifact_uri.removeprefix("file://"))
    losses = json.loads((artifacts / "losses.json").read_text(encoding="utf-8"))
    assert [loss["interaction_id"] for loss in losses] == ["i10", "i11"]
    assert "+- Loves quiet films." in (artifacts / "persona.diff").read_text(encoding="utf-8")
    state = json.loads((artifacts / "program.json").read_text(encoding="utf-8"))
    loaded = program_of(user)(version)
    loaded.load_state(state)
    assert loaded.persona == version.persona


def _history() -> list[Interaction]:
    return [interaction(position) for position in range(HISTORY_LENGTH)]


def test_no_name_holds_the_user_id(tracker: PersonaTracker, uri: str, store: Store, lm: ScriptedLM) -> None:
    user = store.add_user("someone@example.org")
    user.interactions.add(_history())
    aligned(user, lm)
    tracker.mirror(user, program_of(user))
    database = Path(uri.removeprefix("sqlite:///"))
    stored = b"".join(path.read_bytes() for path in database.parent.iterdir())
    assert user.key.encode() in stored
    assert b"someone@example.org" not in stored


def test_an_interrupted_mirror_goes_on_without_registering_twice(
    tracker: PersonaTracker, uri: str, store: Store, lm: ScriptedLM
) -> None:
    user = store.add_user("interrupted")
    user.interactions.add(_history())
    aligned(user, lm)

    class Stop(RuntimeError):
        pass

    def stop(_: PersonaVersion) -> PersonaAgent:
        raise Stop

    with pytest.raises(Stop):
        tracker.mirror(user, stop)
    assert tracker.mirror(user, program_of(user)) == 0, "both versions had been registered"
    assert len(client(uri).search_prompt_versions(f"persona.{user.key}")) == 2
    experiment = client(uri).get_experiment_by_name("personaagent")
    assert experiment is not None
    assert len(client(uri).search_runs([experiment.experiment_id], f"tags.user = '{user.key}'")) == 1


def test_mlflow_out_of_reach_is_a_tracking_error_without_the_password(user: User, lm: ScriptedLM) -> None:
    aligned(user, lm)
    nobody_listens = PersonaTracker("http://someone:hunter2@127.0.0.1:9")
    with pytest.raises(TrackingError, match="persona sync") as failure:
        nobody_listens.mirror(user, program_of(user))
    assert "hunter2" not in str(failure.value)


def test_an_erased_user_is_in_no_file_and_the_others_are(
    tracker: PersonaTracker, uri: str, store: Store, lm: ScriptedLM
) -> None:
    users = [store.add_user("erased"), store.add_user("kept")]
    for user in users:
        user.interactions.add(_history())
        aligned(user, lm)
        tracker.mirror(user, program_of(user))
    erased, kept = users
    experiment = client(uri).get_experiment_by_name("personaagent")
    assert experiment is not None
    artifacts = Path(experiment.artifact_location.removeprefix("file://"))
    losses = len(list(artifacts.rglob("losses.json")))
    assert tracker.erase(erased.key) == Erased(prompt_versions=2, runs=1, kept=(), is_compact=True)
    assert tracker.erase(erased.key) == Erased(prompt_versions=0, runs=0, kept=(), is_compact=True)
    database = Path(uri.removeprefix("sqlite:///"))
    files = [*database.parent.iterdir(), *(path for path in artifacts.rglob("*") if path.is_file())]
    assert not [path for path in files if erased.key.encode() in path.read_bytes()]
    assert [path for path in files if kept.key.encode() in path.read_bytes()] == [database]
    assert tracker.mirror(kept, program_of(kept)) == 0
    assert len(list(artifacts.rglob("losses.json"))) == losses - 1


def test_an_erased_user_can_be_mirrored_again(tracker: PersonaTracker, store: Store, lm: ScriptedLM) -> None:
    user = store.add_user("back again")
    user.interactions.add(_history())
    aligned(user, lm)
    for _ in range(2):
        assert tracker.mirror(user, program_of(user)) == 2
        assert tracker.erase(user.key).prompt_versions == 2


def test_nothing_is_made_where_nothing_was_mirrored(tmp_path: Path) -> None:
    assert PersonaTracker(f"sqlite:///{tmp_path / 'none.db'}").erase("0" * 16) == Erased(0, 0, (), is_compact=True)
    assert list(tmp_path.iterdir()) == []


def test_a_server_out_of_reach_says_to_erase_again() -> None:
    with pytest.raises(TrackingError, match="erase again"):
        PersonaTracker("http://127.0.0.1:9").erase("0" * 16)


def test_the_diff_shows_what_came_and_went() -> None:
    old = Persona(lines=(PersonaLine(section="style", text="Be long."), PersonaLine(section="style", text="Be kind.")))
    new = Persona(lines=(PersonaLine(section="style", text="Be kind."), PersonaLine(section="style", text="Be brief.")))
    changed = [line for line in persona_diff(old, new).splitlines()[3:] if line[:1] in "+-"]
    assert changed == ["-- Be long.", "+- Be brief."]
    assert persona_diff(new, new) == ""
