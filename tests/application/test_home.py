"""Who may open a home: one process, or any number if nothing in its folder is written by several."""

from pathlib import Path

import dspy
import pytest

from personaagent import lms
from personaagent.cli.demo import write_lamp_files
from personaagent.data.errors import ErasedUserError, HomeLockedError, InputError, SetupError
from personaagent.data.history.columns import Columns
from personaagent.data.interaction import Interaction
from personaagent.data.memory.chroma_index import EpisodeIndex
from personaagent.data.task import Task
from personaagent.erasure import erase, finish_erasures
from personaagent.evaluation.run import EvaluationJob, run_job
from personaagent.home import Home, copy_user, is_shared, scratch_store
from personaagent.programs.scope import within
from personaagent.settings import Settings
from personaagent.testing import HashEmbedder, ScriptedLM

from ..loopback import Loopback
from ..people.made_up import live_through
from ..postgres import PostgresServer

POSTGRES, CHROMA, MLFLOW = "postgresql://nobody@127.0.0.1:9/store", "http://127.0.0.1:9", "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def _embeds_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lms, "open_embedder", lambda _: HashEmbedder())


@pytest.fixture
def shared(tmp_path: Path, postgres: PostgresServer, chroma_url: str) -> Settings:
    """Settings under which nothing in the folder is written by several."""
    return Settings(home=tmp_path, database=postgres.new_url(), chroma=chroma_url, tracking_uri=MLFLOW)


def asked(name: str, query: str) -> Interaction:
    return Interaction(interaction_id=name, query=query)


def recalled(home: Home) -> set[str]:
    episodes = home.store.user("maya").memory.recall("film", 9)
    return {episode.interaction.interaction_id for episode in episodes}


def test_a_home_with_files_has_one_that_keeps_them(tmp_path: Path) -> None:
    with Home(Settings(home=tmp_path)), pytest.raises(HomeLockedError, match="another process"):
        Home(Settings(home=tmp_path), guest=False)
    Home(Settings(home=tmp_path), guest=False).close()


def test_a_guest_and_the_first_see_what_the_other_did(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with Home(settings, HashEmbedder()) as first, Home(settings, HashEmbedder()) as guest:
        first.store.add_user("maya").interactions.add([asked("1", "a film"), asked("2", "a new film")])
        assert recalled(first) == recalled(guest) == {"1", "2"}
        guest.store.user("maya").interactions.add([asked("3", "a late film")])
        guest.store.user("maya").interactions.forget("1")
        assert recalled(guest) == recalled(first) == {"2", "3"}
        guest.store.user("maya").interactions.forget("2")
        guest.store.user("maya").interactions.add([asked("4", "a last film")])
        assert recalled(guest) == recalled(first) == {"3", "4"}


def test_whom_a_guest_erases_the_first_removes_from_the_files(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with Home(settings, HashEmbedder()) as first:
        live_through(first, "maya", "canary")
        recalled(first)
        with Home(settings, HashEmbedder()) as guest:
            receipt = erase(guest, "maya")
            assert receipt.removed["interactions"]
            assert "the process that has the home folder open" in " ".join(receipt.left)
        assert first.store.users() == ()
        [finished] = finish_erasures(first)
        assert finished.left == ()
        assert first.store.people.tombstones.all() == ()
    assert all(b"canary" not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_a_shared_home_is_open_several_times_and_each_sees_what_the_others_did(shared: Settings) -> None:
    with Home(shared) as here, Home(shared) as there:
        here.store.add_user("maya").interactions.add([asked("1", "a film"), asked("2", "a new film")])
        assert recalled(there) == {"1", "2"}
        there.store.user("maya").interactions.add([asked("3", "a late film")])
        here.store.user("maya").interactions.forget("1")
        assert recalled(here) == recalled(there) == {"2", "3"}


def test_a_shared_home_writes_no_store_and_no_index_to_its_folder(shared: Settings) -> None:
    with Home(shared) as home:
        home.store.add_user("maya").interactions.add([asked("1", "a film")])
        assert recalled(home) == {"1"}
    assert list(shared.home.iterdir()) == []


@pytest.mark.parametrize(
    ("database", "chroma"),
    [(POSTGRES, None), (None, CHROMA), ("sqlite:////tmp/elsewhere.db", CHROMA)],
    ids=["index in the folder", "store in the folder", "store in a file"],
)
def test_a_home_is_not_shared_by_half(tmp_path: Path, database: str | None, chroma: str | None) -> None:
    assert not is_shared(Settings(home=tmp_path, database=database, chroma=chroma, tracking_uri=MLFLOW))


@pytest.mark.parametrize("tracking_uri", [None, "", "sqlite:///mlflow.db", "sqlite+pysqlite:///x", "file:///x", "runs"])
def test_mlflow_in_a_file_is_not_for_several_processes(tmp_path: Path, tracking_uri: str | None) -> None:
    settings = Settings(home=tmp_path, database=POSTGRES, chroma=CHROMA, tracking_uri=tracking_uri)
    with pytest.raises(SetupError, match="PERSONAAGENT_TRACKING_URI"):
        Home(settings)


@pytest.mark.parametrize("tracking_uri", [MLFLOW, "https://mlflow", POSTGRES, "postgresql+psycopg://nobody@host/x"])
def test_mlflow_on_a_server_is_for_several_processes(tmp_path: Path, tracking_uri: str) -> None:
    assert is_shared(Settings(home=tmp_path, database=POSTGRES, chroma=CHROMA, tracking_uri=tracking_uri))


def test_a_scratch_store_touches_nothing_that_is_shared(shared: Settings) -> None:
    with Home(shared) as home:
        maya = home.store.add_user("maya")
        maya.interactions.add([asked("1", "a film"), asked("2", "a new film")])
        with scratch_store(shared) as scratch:
            copy = copy_user(maya, scratch, None, most=1)
            copy.memory.rebuild()
            assert len(copy.memory.recall("film", 9)) == 1
        assert [user.user_id for user in home.store.users()] == ["maya"]
        with EpisodeIndex(shared.chroma, HashEmbedder()) as index:
            assert len(index.search(maya.key, "film", 9)) == 2


def test_a_chroma_server_that_cannot_be_named_so_is_refused_at_once(shared: Settings) -> None:
    wrong = shared.model_copy(update={"chroma": "127.0.0.1:8000"})
    with pytest.raises(SetupError, match="write http://HOST:PORT"):
        Home(wrong)


def test_what_another_optimizer_wrote_is_what_the_home_answers_with(tmp_path: Path) -> None:
    lm = ScriptedLM({"response": "A quiet film.", "statements": ["likes quiet films"]})
    with Home(Settings(home=tmp_path)) as home, dspy.context(lm=lm):
        user = home.store.add_user("maya")
        user.interactions.add([asked("1", "a film")])
        better = home.agent(user)
        predict = better.respond.predict
        predict.signature = predict.signature.with_instructions("Answer in one sentence.")
        version = home.adopt(user, better, "GEPA")
        assert home.agent(user).persona_version == version.number == 2
        home.agent(user)(query="A film?")
    assert "Answer in one sentence." in lm.requests[-1].system


def test_a_history_is_stored_with_its_task_or_not_at_all(tmp_path: Path) -> None:
    moods = Task(name="evening moods of a home", kind="label", labels=("calm", "tense"))
    rows = [{"question": f"Evening {day}?", "mood": "calm", "at": f"2024-05-0{day}"} for day in (1, 2)]
    named = Columns(query="question", ground_truth="mood")
    with Home(Settings(home=tmp_path)) as home:
        with pytest.raises(InputError, match="row 1, field 'mood': 'calm' is not one of"):
            home.ingest(rows, user="maya", task=Task(name="other moods", kind="label", labels=("x",)), columns=named)
        assert home.store.users() == ()
        assert home.ingest(rows, user="maya", task=moods, columns=named) == 2
        assert home.agent(home.store.user("maya")).task == moods


async def test_an_evaluation_in_the_run_of_a_home_is_journalled_and_its_users_are_not_stored(
    tmp_path: Path, server: Loopback
) -> None:
    data = write_lamp_files(tmp_path / "LaMP-2M")
    settings = Settings(home=tmp_path / "home", lm="openai/made-up", api_base=server.url)
    job = EvaluationJob(folder=data, tasks=("LaMP-2M",), methods=("prompt", "personaagent"))
    with Home(settings) as home:
        with home.run() as run:
            results = await run_job(job, settings, lm_of=run.lms.get)
        assert {row.status for row in results["LaMP-2M"].rows} == {"scored"}
        calls = home.store.journal.calls(run.run_id)
        assert {call.user_key for call in calls} == {row.user_key for row in results["LaMP-2M"].rows}
        assert home.store.users() == ()


def test_the_run_of_a_home_still_writes_nothing_of_a_user_who_is_not_stored(tmp_path: Path, server: Loopback) -> None:
    settings = Settings(home=tmp_path, lm="openai/made-up", api_base=server.url)
    with Home(settings) as home, home.run() as run, within(user_key="0" * 16):
        with pytest.raises(dspy.LMError) as refused:
            dspy.Predict("query -> response")(query="A film?")
        assert isinstance(refused.value.__cause__, ErasedUserError)
        assert home.store.journal.calls(run.run_id) == ()
