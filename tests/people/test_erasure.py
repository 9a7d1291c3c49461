"""Erasing a user, proved by the bytes of every file of the home folder.

1. Nothing of the user is in any file: no word, no id, no key.
2. Everyone else is as before.
3. What fails is named, and erasing again finishes.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from personaagent import lms
from personaagent.data.call import Run
from personaagent.data.errors import ErasedUserError, InputError, StorageError, UnknownUserError
from personaagent.data.store import User, engines, user_key
from personaagent.data.store.database import Database
from personaagent.erasure import Receipt, erase, finish_erasures
from personaagent.home import Home
from personaagent.journal import AGENT, new_run, open_run
from personaagent.portable import export_user
from personaagent.programs.scope import within
from personaagent.settings import Settings
from personaagent.testing import HashEmbedder

from .made_up import ERASED, KEPT, WORD, interactions, live_through, lm, traces

pytestmark = pytest.mark.slow

PLAIN = "plain"


class Proof(NamedTuple):
    """A home folder before and after a user was erased."""

    before: dict[str, int]
    """Traces of the user by file, before."""
    after: dict[str, int]
    """The same while the home was open, and when it was closed."""
    receipt: Receipt
    again: Receipt
    neighbour: tuple[list[str], list[str]]
    """The other user's export, before and after."""
    recalled: tuple[list[str], list[str]]
    """What the other user recalls, before and after."""
    runs: tuple[Run, ...]
    """What the journal has, after."""


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proof]:
    folder = tmp_path_factory.mktemp("proof")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lms, "open_embedder", lambda _: HashEmbedder())
        with Home(Settings(home=folder)) as home:
            yield prove(home)


def prove(home: Home) -> Proof:
    erased, kept = live_through(home, ERASED, WORD), live_through(home, KEPT, PLAIN)
    home.store.database.compact()  # into the file itself, out of its write-ahead log
    share_a_run(home, erased, kept)
    before = found_in(home.folder)
    exported, recalled = list(export_user(home.store, KEPT)), recall(kept)
    receipt = erase(home, ERASED)
    while_open = found_in(home.folder)
    again = erase(home, ERASED)
    neighbour, recalled_after = list(export_user(home.store, KEPT)), recall(kept)
    runs = home.store.journal.runs()
    home.close()
    after = {name: while_open.get(name, 0) + count for name, count in found_in(home.folder).items()}
    return Proof(before, after, receipt, again, (exported, neighbour), (recalled, recalled_after), runs)


def share_a_run(home: Home, erased: User, kept: User) -> None:
    """Let one run pay for both, as `align` does for several users."""
    run = new_run("align", {"users": [erased.key, kept.key], "n": 1, "note": f"for {erased.key}"}, run_id="shared")
    for user, word in ((erased, WORD), (kept, PLAIN)):
        with open_run(home.store.journal, run, {AGENT: lm(word)}), within(user_key=user.key):
            home.agent(user)(query=f"another question {word}")


def recall(user: User) -> list[str]:
    return [episode.interaction.interaction_id for episode in user.memory.recall(f"question 2 {PLAIN}", 3)]


def found_in(folder: Path) -> dict[str, int]:
    """Return how many traces of the user each file of a folder holds, in its name too."""
    counts: dict[str, int] = {}
    for file in (path for path in sorted(folder.rglob("*")) if path.is_file()):
        name = file.relative_to(folder).as_posix()
        everything = (file.read_bytes() + name.encode()).lower()
        counts[name] = sum(everything.count(trace.lower()) for trace in traces(ERASED))
    return counts


def test_the_user_had_left_traces_everywhere(proof: Proof) -> None:
    with_traces = {Path(name).name for name, count in proof.before.items() if count}
    assert {
        "store.db",
        "store.db-wal",
        "chroma.sqlite3",
        "mlflow.db",
        "losses.json",
        "persona.diff",
        "program.json",
    } <= with_traces


def test_no_byte_of_any_file_tells_of_the_user(proof: Proof) -> None:
    assert len(proof.after) > 5
    assert {name: count for name, count in proof.after.items() if count} == {}


def test_the_other_user_is_as_before_byte_for_byte(proof: Proof) -> None:
    before, after = proof.neighbour
    assert before == after
    assert len(before) > 10
    assert proof.recalled[0] == proof.recalled[1] != []


def test_the_receipt_counts_what_was_removed(proof: Proof) -> None:
    removed = proof.receipt.removed
    assert proof.receipt.user_key == user_key(ERASED)
    assert proof.receipt.left == ()
    assert {name: count for name, count in removed.items() if name not in ("calls", "attempts")} == {
        "users": 1,
        "interactions": 5,
        "statements": removed["statements"],
        "alignments": 1,
        "persona_versions": 2,
        "promotions": 3,
        "jobs": 1,
        "api_keys": 1,
        "usage": 1,
        "idempotency": 2,
        "runs": 2,
        "episodes": 5,
        "prompt_versions": 2,
        "tracked_runs": 1,
    }
    assert removed["statements"] >= 1
    assert removed["calls"] == removed["attempts"] > 10


def test_a_second_time_there_is_nothing_to_remove(proof: Proof) -> None:
    assert set(proof.again.removed.values()) == {0}
    assert proof.again.left == ()


def test_a_run_for_several_users_stays_without_the_name_of_this_one(proof: Proof) -> None:
    [shared] = [run for run in proof.runs if run.run_id == "shared"]
    assert shared.arguments == {"users": [user_key(KEPT)], "n": 1}
    assert sorted(run.command for run in proof.runs) == ["align", "align", "ask"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setattr(lms, "open_embedder", lambda _: HashEmbedder())
    with Home(Settings(home=tmp_path)) as home:
        home.store.add_user(ERASED).interactions.add(interactions(WORD))
        yield home


def test_mlflow_out_of_reach_is_named_the_rest_is_done_and_nothing_but_the_key_is_kept_until_it_is_back(
    tmp_path: Path, home: Home
) -> None:
    usual = home.settings
    home.settings = usual.model_copy(update={"tracking_uri": "http://127.0.0.1:9"})
    receipt = erase(home, ERASED)
    assert receipt.left == ("prompt versions, runs and artifacts in MLflow",)
    assert receipt.removed["interactions"] == receipt.removed["episodes"] == 6
    [stone] = home.store.people.tombstones.all()
    assert (stone.user_key, stone.parts) == (user_key(ERASED), ("tracking",))
    found = {file: file.read_bytes().lower() for file in tmp_path.rglob("*") if file.is_file()}
    keys = {user_key(ERASED).encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be")}
    assert not any(trace.lower() in data for data in found.values() for trace in {*traces(ERASED)} - keys)
    assert finish_erasures(home)[0].left == receipt.left
    home.settings = usual
    assert finish_erasures(home)[0].left == ()
    assert home.store.people.tombstones.all() == ()
    assert not any(found_in(tmp_path).values())


def test_a_user_who_comes_back_before_an_erasure_is_finished_keeps_what_is_new(tmp_path: Path, home: Home) -> None:
    usual = home.settings
    home.settings = usual.model_copy(update={"tracking_uri": "http://127.0.0.1:9"})
    erase(home, ERASED)
    back = home.store.add_user(ERASED)
    back.interactions.add(interactions("again"))
    home.settings = usual
    assert finish_erasures(home)[0].left == ()
    assert len(back.interactions) == 6
    assert [each.interaction.query for each in back.memory.recall("made-up question 3 again", 1)] == [
        "made-up question 3 again"
    ]


def test_what_was_noted_is_done_when_the_home_is_opened_again(tmp_path: Path, home: Home) -> None:
    live_through(home, KEPT, PLAIN)
    live_through(home, ERASED + "!", WORD)
    for user_id in (ERASED, ERASED + "!"):
        home.store.people.tombstones.add(user_key(user_id))  # Then the process was killed.
        with pytest.raises(UnknownUserError):
            home.store.user(user_id)
        with pytest.raises(ErasedUserError):
            home.store.add_user(user_id)
    home.close()
    with Home(home.settings) as again:
        assert [user.user_id for user in again.store.users()] == [KEPT]
        assert again.store.people.tombstones.all() == ()
        assert not any(found_in(tmp_path).values())


def test_the_first_lm_call_for_a_user_who_is_gone_is_not_made_and_not_recorded(home: Home) -> None:
    user, asked = home.store.user(ERASED), lm(WORD)
    home.mirror(user)
    agent = home.agent(user)
    journal = home.store.journal.of_stored()
    with open_run(journal, new_run("serve"), {AGENT: asked}) as run, within(user_key=user.key):
        agent(query="before")
        before = len(asked.requests)
        home.store.people.tombstones.add(user.key)
        with pytest.raises(ErasedUserError):
            agent(query="noted")
        home.store.people.erase(ERASED)
        with pytest.raises(ErasedUserError):
            agent(query="erased")
        assert len(asked.requests) == before > 0
        assert home.store.journal.calls(run.run_id) == ()
        with pytest.raises(ErasedUserError):
            user.interactions.add(interactions("late"))


def test_a_home_that_never_mirrored_gets_no_mlflow_database(tmp_path: Path, home: Home) -> None:
    assert erase(home, ERASED).left == ()
    assert not (tmp_path / "mlflow.db").exists()


def test_an_index_that_fails_is_named_and_the_next_erasure_finishes(
    tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object, __: str) -> int:
        raise StorageError("made-up failure")

    with monkeypatch.context() as patch:
        patch.setattr(type(home.store.people), "erase_episodes", fail)
        assert erase(home, ERASED).left == ("vectors in the files of the index",)
    assert home.store.people.tombstones.all()[0].parts == ("index",)
    assert found_in(tmp_path)["chroma/chroma.sqlite3"]
    assert erase(home, ERASED).removed["episodes"] == 6
    assert not any(found_in(tmp_path).values())


def test_someone_who_reads_on_keeps_the_files_from_being_cleaned_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "BUSY_TIMEOUT_SECONDS", 0.1)
    with Home(Settings(home=tmp_path)) as home, closing(Database(tmp_path / "store.db")) as elsewhere:
        home.store.add_user(ERASED)
        with elsewhere.read() as reader:
            reader.exec_driver_sql("SELECT user_id FROM users").all()
            assert erase(home, ERASED).left == ("deleted rows in the files of the database",)
        assert erase(home, ERASED).left == ()
        assert not any(found_in(tmp_path).values())


def test_what_cannot_be_a_user_id_is_refused(home: Home) -> None:
    with pytest.raises(InputError, match="user id is empty"):
        erase(home, "")
    assert len(home.store.users()) == 1
