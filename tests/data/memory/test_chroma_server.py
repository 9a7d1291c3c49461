"""The index of episodes on a Chroma server, where several processes write.

1. Whatever another process did or left undone, a healed user's rows are what is stored.
2. What another process did to the end costs no second look at the store.
3. A server that cannot be reached, hangs or is another one's is named, and what it missed is caught up.
4. One process leaving, or a stranger's collection, changes nothing for the others.
"""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from personaagent.data.errors import SetupError, StorageError
from personaagent.data.interaction import Interaction
from personaagent.data.memory import chroma_server
from personaagent.data.memory.chroma_index import EpisodeIndex
from personaagent.data.memory.chroma_server import ChromaServer
from personaagent.data.store import Store
from personaagent.testing import HashEmbedder

from ...chroma import free_port, running_chroma
from ...loopback import Reply, loopback
from .chroma_writer import AnyDirection
from .stored import Stored

pytestmark = pytest.mark.slow

Ask = Callable[..., Interaction]
MAYA, OMAR = "00000000000000a0", "00000000000000b0"
WRITER = Path(__file__).with_name("chroma_writer.py")


class Recorder(HashEmbedder):
    """Counts what it was asked to embed."""

    def __init__(self, fingerprint: str = "recording") -> None:
        super().__init__()
        self.fingerprint, self.embedded = fingerprint, 0

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.embedded += len(texts)
        return super().embed(texts)


@pytest.fixture
def here(chroma_url: str) -> Iterator[EpisodeIndex]:
    with EpisodeIndex(chroma_url, Recorder(), shards=2) as index:
        yield index


@pytest.fixture
def there(chroma_url: str) -> Iterator[EpisodeIndex]:
    """The index as another process has it."""
    with EpisodeIndex(chroma_url, Recorder(), shards=2) as index:
        yield index


def found(index: EpisodeIndex, user_key: str = MAYA) -> list[str]:
    return sorted(match.interaction_id for match in index.search(user_key, "film", 100))


def add(index: EpisodeIndex, *interactions: Interaction, user_key: str = MAYA) -> None:
    index.add(user_key, interactions)


def test_what_another_process_did_is_seen_without_a_second_look_at_the_store(
    here: EpisodeIndex, there: EpisodeIndex, ask: Ask
) -> None:
    stored = Stored(ask("1", "a film"), ask("2", "a new film", position=1))
    here.heal(MAYA, stored)
    stored.interactions[0] = late = ask("3", "a late film", position=2)
    add(there, late)
    there.remove(MAYA, ["1"])
    here.heal(MAYA, stored)
    stored.interactions.append(later := ask("4", "a later film", position=3))
    add(there, later)
    here.heal(MAYA, stored)
    assert stored.reads == 1
    assert found(here) == ["2", "3", "4"]


def test_what_another_process_lost_is_brought_back(here: EpisodeIndex, there: EpisodeIndex, ask: Ask) -> None:
    stored = Stored(ask("1", "a film"), ask("2", "a new film", position=1))
    here.heal(MAYA, stored)
    there.remove(MAYA, ["1"])
    here.heal(MAYA, stored)
    assert found(here) == ["1", "2"]


def test_what_another_process_writes_meanwhile_is_not_taken_for_extra(
    here: EpisodeIndex, there: EpisodeIndex, ask: Ask
) -> None:
    class WrittenMeanwhile(Stored):
        def all(self) -> tuple[Interaction, ...]:
            read = super().all()
            self.interactions.append(late := ask("2", "a new film", position=1))
            add(there, late)
            return read

    here.heal(MAYA, WrittenMeanwhile(ask("1", "a film")))
    assert found(here) == ["1", "2"]


_step = st.tuples(
    st.sampled_from(["here", "there"]),
    st.sampled_from(["add", "add, cut off", "forget", "forget, cut off", "heal", "rebuild"]),
    st.integers(0, 5),
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_step, max_size=12))
def test_healed_rows_are_what_is_stored_whatever_either_process_did(
    here: EpisodeIndex, there: EpisodeIndex, ask: Ask, steps: list[tuple[str, str, int]]
) -> None:
    stored, position = Stored(), 0
    here.rebuild()
    for who, what, name in steps:
        index = here if who == "here" else there
        known = {interaction.interaction_id for interaction in stored.interactions}
        if what.startswith("add") and str(name) not in known:
            position += 1
            stored.interactions.append(one := ask(str(name), f"film {position}", position=position))
            if what == "add":
                add(index, one)
        elif what.startswith("forget") and str(name) in known:
            index.remove(MAYA, [str(name)])
            if what == "forget":
                stored.interactions = [
                    interaction for interaction in stored.interactions if interaction.interaction_id != str(name)
                ]
        elif what == "heal":
            index.heal(MAYA, stored)
            assert found(index) == sorted(interaction.interaction_id for interaction in stored.interactions)
        elif what == "rebuild":
            index.rebuild()
    for index in (here, there):
        index.heal(MAYA, stored)
        assert [index.search(MAYA, interaction.query, 1)[0].interaction_id for interaction in stored.interactions] == [
            interaction.interaction_id for interaction in stored.interactions
        ]
        assert len(found(index)) == len(stored.interactions)


def test_rows_of_several_processes_are_all_there_and_find_themselves(chroma_url: str, ask: Ask) -> None:
    writers = [
        subprocess.Popen([sys.executable, WRITER, chroma_url, name, "20"], stdout=subprocess.PIPE, text=True)
        for name in ("a", "b")
    ]
    written = [json.loads(writer.communicate(timeout=120)[0]) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    with EpisodeIndex(chroma_url, AnyDirection(), shards=2) as index:
        for user_key, name, query in (row for rows in written for row in rows):
            [match] = index.search(user_key, query, 1)
            assert (match.interaction_id, match.similarity) == (name, pytest.approx(1.0, abs=1e-5))
        assert {len(found(index, key)) for key in (MAYA, OMAR)} == {20}


def test_a_server_that_is_down_is_named_and_what_it_missed_is_caught_up(
    ask: Ask, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with EpisodeIndex(url, HashEmbedder(), shards=1) as index, Store.open("sqlite://", index=index) as store:
        maya = store.add_user("maya")
        with running_chroma(tmp_path, port):
            maya.interactions.add([ask("1", "a film")])
            assert [episode.interaction.interaction_id for episode in maya.memory.recall("film", 9)] == ["1"]
        assert maya.interactions.add([ask("2", "a new film")]) == 1
        assert "not indexed yet" in caplog.text and url in caplog.text
        with pytest.raises(StorageError, match=f"Chroma at {url} failed"):
            maya.memory.recall("film", 9)
        with pytest.raises(StorageError, match=url):
            maya.interactions.forget("1")
        with running_chroma(tmp_path, port):
            assert {episode.interaction.interaction_id for episode in maya.memory.recall("film", 9)} == {"1", "2"}


def test_a_server_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chroma_server, "_ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            EpisodeIndex(url, HashEmbedder()) as index,
            pytest.raises(StorageError, match=f"{url} failed .ReadTimeout"),
        ):
            index.search(MAYA, "film", 1)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(status=404), "status 404"),
        (Reply(status=502, body=b"<html>maya</html>"), "status 502"),
        (Reply(body=b"<html>maya</html>"), "its answer is not Chroma's"),
        (Reply(body=b'{"maya": 1}'), "its answer is not Chroma's"),
        (Reply(bytes_sent=0), "RemoteProtocolError"),
    ],
    ids=["another server", "a gateway", "a page", "another form", "cut off"],
)
def test_whoever_else_answers_is_named_and_not_quoted(reply: Reply, said: str) -> None:
    with (
        loopback(lambda _: reply) as up,
        closing(ChromaServer(up.url.removesuffix("/v1"))) as server,
        pytest.raises(StorageError, match=f"Chroma at {server.url} failed .{said}") as error,
    ):
        server.get_or_create_collection("mem", configuration={}, metadata={}, embedding_function=None)
    assert "maya" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8000",
        "/folder/chroma",
        "postgresql://127.0.0.1/store",
        "http://",
        "http://maya:hunter2@127.0.0.1:8000",
        "http://127.0.0.1:8000/?token=hunter2",
        "http://127.0.0.1:8000/hunter2",
        "http://127.0.0.1:eighty",
    ],
)
def test_a_url_of_another_form_is_refused_and_not_quoted(url: str) -> None:
    with pytest.raises(SetupError, match="write http://HOST:PORT") as error:
        EpisodeIndex(url, HashEmbedder())
    assert "hunter2" not in str(error.value)


def test_rows_stay_when_a_process_leaves_and_need_no_new_vectors(chroma_url: str, ask: Ask) -> None:
    stored = Stored(ask("1", "a film"))
    with EpisodeIndex(chroma_url, Recorder()) as index:
        index.heal(MAYA, stored)
    later = Recorder()
    with EpisodeIndex(f"{chroma_url}/", later) as index:
        index.heal(MAYA, stored)
        assert later.embedded == 0
        assert found(index) == ["1"]


def test_a_process_with_another_embedder_takes_over_and_the_first_is_told(chroma_url: str, ask: Ask) -> None:
    stored = Stored(ask("1", "a film"))
    with EpisodeIndex(chroma_url, Recorder("old")) as old, EpisodeIndex(chroma_url, Recorder("new")) as new:
        old.heal(MAYA, stored)
        new.heal(MAYA, stored)
        assert found(new) == ["1"]
        with pytest.raises(SetupError, match="one embedder"):
            old.search(MAYA, "film", 1)


def test_a_strangers_collection_is_left_alone(chroma_url: str, here: EpisodeIndex, ask: Ask) -> None:
    with closing(ChromaServer(chroma_url)) as client:
        client.get_or_create_collection("strangers", configuration={}, metadata={"of": "them"}, embedding_function=None)
        add(here, ask("1", "a film"))
        here.rebuild()
        assert [collection.name for collection in client.list_collections()] == ["strangers"]


def test_a_collection_that_another_process_deleted_is_deleted(chroma_url: str) -> None:
    with closing(ChromaServer(chroma_url)) as client:
        client.delete_collection("mem-0000")
        assert client.list_collections() == []


def test_erasing_a_user_leaves_the_others_of_the_shard(here: EpisodeIndex, there: EpisodeIndex, ask: Ask) -> None:
    stored = Stored(ask("1", "a film"))
    there.heal(OMAR, stored)
    here.heal(MAYA, stored)
    assert here.erase(MAYA) == 1
    there.heal(OMAR, stored)
    assert (found(there, OMAR), found(there, MAYA)) == (["1"], [])


def test_a_server_that_hangs_holds_up_few_and_is_then_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chroma_server, "_ANSWER_SECONDS", 1.2)
    monkeypatch.setattr(chroma_server, "_LEFT_ALONE_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with EpisodeIndex(url, HashEmbedder()) as index, ThreadPoolExecutor(24) as threads:

            def waited(number: int) -> float:
                began = time.monotonic()
                with pytest.raises(StorageError):
                    index.search(f"{number:064x}", "film", 1)
                return time.monotonic() - began

            assert sorted(threads.map(waited, range(24)))[15] < 1.1, "most are told after half a second"
            assert waited(30) < 0.2, "it is left alone"
            time.sleep(1.1)
            assert waited(31) > 1.1, "one looks whether it is back"
