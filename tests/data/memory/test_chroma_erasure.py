"""Erasing a user's vectors from Chroma's files, which keep whatever is only deleted."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from personaagent.data.errors import StorageError
from personaagent.data.interaction import Interaction
from personaagent.data.memory.chroma_files import DATABASE, remove_leftovers
from personaagent.data.memory.chroma_index import EpisodeIndex
from personaagent.testing import HashEmbedder

from .stored import Stored

Ask = Callable[..., Interaction]
MAYA, OMAR, ELSEWHERE = "00000000000000a0", "00000000000000b0", "00000000000000a1"
FLUSHED = 1_200
"""So many rows of one shard that Chroma writes its file of vectors."""


@pytest.fixture
def index(tmp_path: Path) -> Iterator[EpisodeIndex]:
    with EpisodeIndex(tmp_path, HashEmbedder(), shards=2) as index:
        yield index


def found(index: EpisodeIndex, user_key: str, text: str = "film") -> list[str]:
    return sorted(match.interaction_id for match in index.search(user_key, text, 10_000))


def vector(text: str) -> bytes:
    return HashEmbedder().embed([text])[0].tobytes()


def holding(folder: Path, *traces: bytes) -> set[str]:
    """Return the names of the files that hold a trace."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.name for path in files if any(trace in path.read_bytes() for trace in traces)}


def test_neither_vectors_nor_ids_stay_in_any_file(index: EpisodeIndex, ask: Ask, tmp_path: Path) -> None:
    words = [f"word{place}" for place in range(FLUSHED)]  # one alone has a vector that Chroma need not round
    index.add(MAYA, [ask(f"maya-{place}", word) for place, word in enumerate(words)])
    index.add(OMAR, [ask("omar-1", "quiet film")])
    index.remove(MAYA, ["maya-0"])
    traces = (vector(words[0]), vector(words[7]), b"maya-", MAYA.encode())
    assert holding(tmp_path, *traces) >= {DATABASE, "data_level0.bin", "index_metadata.pickle"}

    assert index.erase(MAYA) == FLUSHED - 1
    assert holding(tmp_path, *traces) == set()
    assert found(index, MAYA) == []
    assert found(index, OMAR) == ["omar-1"]
    assert DATABASE in holding(tmp_path, b"omar-1")


def test_the_others_of_the_shard_are_not_embedded_again(
    index: EpisodeIndex, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add(MAYA, [ask("1", "a film")])
    index.add(OMAR, [ask("1", "a film"), ask("2", "a quiet film", position=1)])
    [before, _] = index.search(OMAR, "a film", 2)
    with monkeypatch.context() as patch:
        patch.setattr(HashEmbedder, "embed", cut_off)
        index.erase(MAYA)
    [after, _] = index.search(OMAR, "a film", 2)
    assert after == before


def test_other_shards_keep_their_files(index: EpisodeIndex, ask: Ask, tmp_path: Path) -> None:
    many = [ask(f"kept-{place}", f"film {place}") for place in range(FLUSHED)]
    index.add(ELSEWHERE, many)
    index.add(MAYA, [ask("1", "a film")])
    before, matches = set(tmp_path.glob("*/data_level0.bin")), index.search(ELSEWHERE, "film 7", FLUSHED)
    index.erase(MAYA)
    after = set(tmp_path.glob("*/data_level0.bin"))
    assert len(before) == 2
    assert len(after) == len(before & after) == 1
    assert len(matches) == FLUSHED
    assert index.search(ELSEWHERE, "film 7", FLUSHED) == matches


def test_files_of_another_form_are_left_as_they_are(index: EpisodeIndex, ask: Ask, tmp_path: Path) -> None:
    index.add(MAYA, [ask("1", "a film")])
    index.add(ELSEWHERE, [ask("1", "a film")])
    for header in tmp_path.glob("*/header.bin"):
        header.write_bytes(b"\2" + header.read_bytes()[1:])
    before = {file: file.read_bytes() for file in tmp_path.glob("*/data_level0.bin")}
    with pytest.raises(StorageError, match="cannot clean what this version of Chroma writes"):
        index.erase(MAYA)
    assert {file: file.read_bytes() for file in before if file.exists()}.items() <= before.items()


def test_an_erased_user_can_come_back(index: EpisodeIndex, ask: Ask) -> None:
    stored = [ask("1", "a film")]
    index.heal(MAYA, Stored(*stored))
    index.erase(MAYA)
    index.heal(MAYA, Stored(*stored))
    assert found(index, MAYA) == ["1"]


def test_another_user_whose_rows_are_lost_is_healed(
    index: EpisodeIndex, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = [ask("1", "a film")]
    index.heal(OMAR, Stored(*stored))
    monkeypatch.setattr("personaagent.data.memory.chroma_index.write_again", cut_off)
    with pytest.raises(StorageError):
        index.erase(MAYA)
    assert found(index, OMAR) == []
    index.heal(OMAR, Stored(*stored))
    assert found(index, OMAR) == ["1"]


def cut_off(*_: object) -> None:
    raise RuntimeError("cut off")


def test_an_index_in_memory_forgets_too(ask: Ask) -> None:
    with EpisodeIndex(None, HashEmbedder(), shards=1) as index:
        index.add(MAYA, [ask("1", "a film")])
        index.add(OMAR, [ask("1", "a film")])
        assert index.erase(MAYA) == 1
        assert (found(index, MAYA), found(index, OMAR)) == ([], ["1"])


def test_where_nothing_was_ever_indexed_nothing_is_made(index: EpisodeIndex, tmp_path: Path) -> None:
    assert index.erase(MAYA) == 0
    assert list(tmp_path.iterdir()) == []


def test_searches_and_erasures_at_once_do_not_wait_for_each_other_for_ever(index: EpisodeIndex, ask: Ask) -> None:
    for key in (MAYA, OMAR, ELSEWHERE):
        index.add(key, [ask("1", "a film")])
    seen: list[list[str]] = []

    def search() -> None:
        seen.extend(found(index, OMAR) for _ in range(10))

    erasing = [threading.Thread(target=index.erase, args=(key,), daemon=True) for key in (MAYA, ELSEWHERE)]
    threads = [*erasing, threading.Thread(target=search, daemon=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert seen == [["1"]] * 10


def test_folders_of_others_are_left_alone(index: EpisodeIndex, ask: Ask, tmp_path: Path) -> None:
    index.add(MAYA, [ask("1", "a film")])
    (tmp_path / "strangers-own").mkdir()
    index.erase(MAYA)
    assert (tmp_path / "strangers-own").exists()


def test_a_folder_that_cannot_be_cleaned_is_an_error_of_ours(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / DATABASE)) as database:
        database.execute("CREATE TABLE other (id)")
    with pytest.raises(StorageError, match="vectors that were deleted are still there"):
        remove_leftovers(tmp_path)


def test_what_others_wait_to_have_written_is_written_before_the_files_are_cleaned(
    index: EpisodeIndex, ask: Ask, tmp_path: Path
) -> None:
    assert found(index, OMAR) == []
    index.add(OMAR, [ask("omar-1", "quiet film")])
    index.add(ELSEWHERE, [ask("1", "loud film")])
    assert DATABASE not in holding(tmp_path, b"omar-1"), "Chroma's own files may hold what its memory held"
    index.erase(ELSEWHERE)
    assert DATABASE in holding(tmp_path, b"omar-1")
    assert found(index, OMAR) == ["omar-1"]


def test_the_files_are_cleaned_again_on_closing(index: EpisodeIndex, ask: Ask, tmp_path: Path) -> None:
    index.add(MAYA, [ask("1", "loud film")])
    index.add(OMAR, [ask("omar-1", "quiet film")])
    index.erase(MAYA)
    found(index, OMAR)
    vectors = next(tmp_path.rglob("data_level0.bin"))
    with vectors.open("r+b") as file:  # as Chroma does with what its process remembers, in the room for more rows
        file.seek(-len(b"of maya"), 2)
        file.write(b"of maya")
    index.close()
    assert holding(tmp_path, b"of maya") == set()
    index.close()
