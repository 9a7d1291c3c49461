"""The index of episodes: whose rows it shows, how near they are, and how it follows the store.

1. A search sees the rows of one user only.
2. A healed user's rows are what is stored, whatever a crash left.
3. Vectors of another embedder, space or layout are never searched.
4. Only vectors and what masks need are in Chroma's files.
"""

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from personaagent.data.errors import SetupError, StorageError
from personaagent.data.interaction import Interaction
from personaagent.data.memory.chroma_index import EpisodeIndex, write
from personaagent.data.memory.rows import Row
from personaagent.testing import HashEmbedder

from .stored import Stored

if TYPE_CHECKING:
    from personaagent.data.memory.chroma_server import Collection

Ask = Callable[..., Interaction]
MAYA, OMAR = "00000000000000a0", "00000000000000b0"


class Recorder(HashEmbedder):
    """Remembers what it was asked to embed."""

    def __init__(self, fingerprint: str = "recording") -> None:
        super().__init__()
        self.fingerprint, self.embedded = fingerprint, list[str]()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.embedded += texts
        return super().embed(texts)


@pytest.fixture
def embedder() -> Recorder:
    return Recorder()


@pytest.fixture
def index(embedder: Recorder) -> Iterator[EpisodeIndex]:
    with EpisodeIndex(None, embedder, shards=2) as index:
        yield index


def found(index: EpisodeIndex, user_key: str, text: str = "film", k: int = 100) -> list[str]:
    return [match.interaction_id for match in index.search(user_key, text, k)]


def test_what_a_search_has_read_follows_every_write(index: EpisodeIndex, ask: Ask) -> None:
    first, second, third = ask("1", "an old film"), ask("2", "a new film"), ask("3", "a film")
    assert found(index, MAYA) == []
    index.add(MAYA, [first])
    assert found(index, MAYA) == ["1"]
    index.add(MAYA, [second])
    assert sorted(found(index, MAYA)) == ["1", "2"]
    index.add(MAYA, [ask("2", "bread")])
    assert found(index, MAYA, "bread", k=1) == ["2"]
    assert index.search(MAYA, "bread", 1)[0].similarity == 1.0
    index.remove(MAYA, ["1"])
    assert found(index, MAYA) == ["2"]
    index.heal(MAYA, Stored(third))
    assert found(index, MAYA) == ["3"]
    index.heal(MAYA, Stored(first, third))
    assert sorted(found(index, MAYA)) == ["1", "3"]
    index.erase(MAYA)
    assert found(index, MAYA) == []


def test_rows_that_are_not_written_yet_are_there_when_the_index_is_opened_again(
    embedder: Recorder, ask: Ask, tmp_path: Path
) -> None:
    asked = [ask(str(number), f"film {number}") for number in range(40)]
    with EpisodeIndex(tmp_path, embedder, shards=1) as index:
        assert found(index, MAYA) == []
        for interaction in asked:
            index.add(MAYA, [interaction])
            assert interaction.interaction_id in found(index, MAYA)
    embedder.embedded.clear()
    with EpisodeIndex(tmp_path, embedder, shards=1) as index:
        index.heal(MAYA, Stored(*asked))
        assert embedder.embedded == []
        assert len(found(index, MAYA)) == 40


def test_rows_wait_to_be_written_together_whoever_else_looks_into_their_shard(
    embedder: Recorder, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    def note(shard: "Collection", rows: Sequence[Row], vectors: list[list[float]]) -> None:
        written.extend(row.row_id for row in rows if row.row_id.startswith(MAYA))
        write(shard, rows, vectors)

    monkeypatch.setattr("personaagent.data.memory.chroma_index.write", note)
    with EpisodeIndex(None, embedder, shards=1) as index:
        assert found(index, MAYA) == []
        index.add(MAYA, [ask("1", "film")])
        index.heal(OMAR, Stored())
        assert found(index, OMAR) == []
        assert (written, found(index, MAYA)) == ([], ["1"])
        index.heal(OMAR, Stored(ask("2", "film")))
        assert written == []
        index.remove(MAYA, ["0"])
        assert written == [f"{MAYA}/1"]
        assert (found(index, OMAR), found(index, MAYA)) == (["2"], ["1"])


def test_rows_that_a_full_disk_did_not_take_are_healed(
    index: EpisodeIndex, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageError("the disk is full")

    index.heal(MAYA, Stored())
    assert found(index, MAYA) == []
    index.add(MAYA, [ask("1", "film")])
    with monkeypatch.context() as patch:
        patch.setattr("personaagent.data.memory.chroma_index.write", full)
        with pytest.raises(StorageError, match="full"):
            index.remove(MAYA, [])
    index.heal(MAYA, Stored(ask("1", "film")))
    assert found(index, MAYA) == ["1"]


def test_a_search_sees_one_users_rows_only(embedder: Recorder, ask: Ask) -> None:
    with EpisodeIndex(None, embedder, shards=1) as index:
        index.add(MAYA, [ask("1", "an old film"), ask("2", "a new film")])
        index.add(OMAR, [ask("1", "an old film"), ask("3", "film")])
        assert sorted(found(index, MAYA)) == ["1", "2"]
        assert sorted(found(index, OMAR)) == ["1", "3"]
        assert found(index, "00000000000000c0") == []


def test_healing_one_user_leaves_the_others_rows(embedder: Recorder, ask: Ask) -> None:
    with EpisodeIndex(None, embedder, shards=1) as index:
        index.add(OMAR, [ask("1", "an old film")])
        index.heal(MAYA, Stored(ask("2", "a new film")))
        index.remove(MAYA)
        assert found(index, OMAR) == ["1"]


def test_a_mask_hides_what_had_not_happened_before_it(index: EpisodeIndex, ask: Ask) -> None:
    days = {"a": 1, "b": 2, "c": 2}
    history = [ask(name, f"film {name}", day=day, position=place) for place, (name, day) in enumerate(days.items())]
    index.add(MAYA, history)
    mask = ask("new", "film", day=2, position=1)
    copy_of_a = ask("new", "Film  A", day=3, position=9)
    assert [match.interaction_id for match in index.search(MAYA, "film", 9, before=[mask])] == ["a"]
    assert {match.interaction_id for match in index.search(MAYA, "film", 9, before=[copy_of_a])} == {"b", "c"}
    assert index.search(MAYA, "film", 9, before=[mask, copy_of_a]) == []


def test_users_are_spread_over_shards(embedder: Recorder, ask: Ask, tmp_path: Path) -> None:
    with EpisodeIndex(tmp_path, embedder, shards=16) as index:
        for key in range(8):
            index.add(f"{key:016x}", [ask("1", "film")])
        assert [found(index, f"{key:016x}") for key in range(8)] == [["1"]] * 8
        names = {collection.name for collection in index._shards._connected().list_collections()}
    assert names == {f"mem-{key:04d}" for key in range(8)}


def test_the_nearest_come_first_and_the_same_text_has_similarity_one(index: EpisodeIndex, ask: Ask) -> None:
    texts = ["a film about war", "a film about love", "how to bake bread", "a film about war and love"]
    index.add(MAYA, [ask(str(place), text) for place, text in enumerate(texts)])
    matches = index.search(MAYA, "A film about war", 3)
    assert [match.interaction_id for match in matches] == ["0", "3", "1"]
    assert matches[0].similarity == pytest.approx(1.0, abs=1e-5)
    assert all(-1 <= match.similarity <= 1 for match in matches)


def test_similarity_is_the_cosine(index: EpisodeIndex, embedder: Recorder, ask: Ask) -> None:
    index.add(MAYA, [ask("1", "a film about war")])
    [match] = index.search(MAYA, "bread about war", 1)
    expected = float(embedder.embed(["a film about war"])[0] @ embedder.embed(["bread about war"])[0])
    assert match.similarity == pytest.approx(expected, abs=1e-5)


def test_more_rows_than_a_batch_are_all_found(index: EpisodeIndex, ask: Ask) -> None:
    texts = [" ".join(map("".join, zip("abcd", f"{place:04}", strict=True))) for place in range(1_100)]
    many = [ask(str(place), text) for place, text in enumerate(texts)]
    index.add(MAYA, many)
    assert [found(index, MAYA, texts[place], k=1) for place in (0, 999, 1_000, 1_099)] == [
        ["0"],
        ["999"],
        ["1000"],
        ["1099"],
    ]
    index.remove(MAYA, [interaction.interaction_id for interaction in many[:1_090]])
    assert sorted(found(index, MAYA)) == [interaction.interaction_id for interaction in many[1_090:]]


def test_heal_brings_what_a_crash_kept_from_the_index(index: EpisodeIndex, ask: Ask) -> None:
    old, new = ask("1", "an old film"), ask("2", "a new film", position=1)
    index.add(MAYA, [old])
    index.heal(MAYA, Stored(old, new))
    assert sorted(found(index, MAYA)) == ["1", "2"]


def test_heal_drops_what_was_forgotten_in_the_store_alone(index: EpisodeIndex, ask: Ask) -> None:
    old, new = ask("1", "an old film"), ask("2", "a new film", position=1)
    index.add(MAYA, [old, new])
    index.heal(MAYA, Stored(new))
    assert found(index, MAYA) == ["2"]


def test_heal_writes_over_a_row_that_differs(index: EpisodeIndex, ask: Ask) -> None:
    index.add(MAYA, [ask("1", "a film"), ask("2", "bread")])
    index.heal(MAYA, Stored(ask("1", "soup"), ask("2", "bread")))
    [match] = index.search(MAYA, "soup", 1)
    assert (match.interaction_id, match.similarity) == ("1", pytest.approx(1.0, abs=1e-5))


def test_heal_reads_the_store_once_and_again_when_the_numbers_differ(index: EpisodeIndex, ask: Ask) -> None:
    stored = Stored(ask("1", "a film"))
    index.heal(MAYA, stored)
    index.heal(MAYA, stored)
    assert stored.reads == 1
    index.add(MAYA, [late := ask("2", "a new film", position=1)])
    stored.interactions += (late,)
    index.heal(MAYA, stored)
    assert stored.reads == 1
    index.remove(MAYA, ["1"])
    index.heal(MAYA, stored)
    assert stored.reads == 2
    assert sorted(found(index, MAYA)) == ["1", "2"]


def test_healing_embeds_only_what_is_missing(index: EpisodeIndex, embedder: Recorder, ask: Ask) -> None:
    first, second = ask("1", "a film"), ask("2", "bread", position=1)
    index.heal(MAYA, Stored(first))
    index.heal(MAYA, Stored(first, second))
    index.remove(MAYA)
    assert embedder.embedded == ["a film", "bread"]
    assert found(index, MAYA) == []


def test_a_folder_that_is_opened_again_needs_no_new_vectors(embedder: Recorder, ask: Ask, tmp_path: Path) -> None:
    stored = Stored(ask("1", "a film"))
    with EpisodeIndex(tmp_path, embedder) as index:
        index.heal(MAYA, stored)
    later = Recorder()
    with EpisodeIndex(tmp_path, later) as index:
        index.heal(MAYA, stored)
        assert later.embedded == []
        assert found(index, MAYA) == ["1"]


def test_another_embedder_starts_from_the_store_again(embedder: Recorder, ask: Ask, tmp_path: Path) -> None:
    with EpisodeIndex(tmp_path, embedder) as index:
        index.add(MAYA, [ask("1", "a film")])
    other = Recorder("another")
    with EpisodeIndex(tmp_path, other) as index:
        assert found(index, MAYA, "a film") == []
        index.heal(MAYA, Stored(ask("1", "a film")))
        [match] = index.search(MAYA, "a film", 1)
    assert match.similarity == pytest.approx(1.0, abs=1e-5)


def test_an_embedder_of_another_length_starts_again_too(embedder: Recorder, ask: Ask, tmp_path: Path) -> None:
    with EpisodeIndex(tmp_path, embedder) as index:
        index.add(MAYA, [ask("1", "a film")])
    with EpisodeIndex(tmp_path, HashEmbedder(dimensions=8)) as index:
        index.heal(MAYA, Stored(ask("1", "a film")))
        assert found(index, MAYA) == ["1"]


def test_another_number_of_shards_leaves_no_row_behind(embedder: Recorder, ask: Ask, tmp_path: Path) -> None:
    with EpisodeIndex(tmp_path, embedder, shards=4) as index:
        index.add("0000000000000003", [ask("1", "a film")])
    with EpisodeIndex(tmp_path, embedder, shards=2) as index:
        assert found(index, "0000000000000003") == []
        assert [collection.name for collection in index._shards._connected().list_collections()] == ["mem-0001"]


def test_a_collection_of_another_space_is_dropped_and_a_strangers_is_left(embedder: Recorder, tmp_path: Path) -> None:
    with EpisodeIndex(tmp_path, embedder, shards=1) as index:
        for name in ("mem-0000", "strangers-own"):
            index._shards._connected().get_or_create_collection(
                name,
                configuration={"hnsw": {"space": "l2"}},
                metadata=index._shards._built_from,
                embedding_function=None,
            )
    with EpisodeIndex(tmp_path, embedder, shards=1) as index:
        assert found(index, MAYA) == []
        spaces = {
            collection.name: collection.configuration_json["hnsw"]["space"]
            for collection in index._shards._connected().list_collections()
        }
    assert spaces == {"mem-0000": "cosine", "strangers-own": "l2"}


def test_rebuild_drops_everyones_rows_until_they_are_healed(index: EpisodeIndex, ask: Ask) -> None:
    stored = Stored(ask("1", "a film"))
    index.heal(MAYA, stored)
    index.heal(OMAR, stored)
    index.rebuild()
    assert found(index, MAYA) == found(index, OMAR) == []
    index.heal(MAYA, stored)
    assert (found(index, MAYA), found(index, OMAR)) == (["1"], [])


def test_indexes_in_memory_share_nothing(embedder: Recorder, ask: Ask) -> None:
    with EpisodeIndex(None, embedder) as one, EpisodeIndex(None, embedder) as other:
        one.add(MAYA, [ask("1", "a film")])
        assert found(other, MAYA) == []


def test_a_closed_index_says_so(embedder: Recorder) -> None:
    index = EpisodeIndex(None, embedder)
    index.close()
    with pytest.raises(SetupError, match="closed"):
        index.search(MAYA, "a film", 1)


def test_nothing_is_opened_or_embedded_before_it_is_needed(embedder: Recorder, tmp_path: Path) -> None:
    EpisodeIndex(tmp_path / "index", embedder).close()
    assert not (tmp_path / "index").exists()


def test_a_damaged_folder_is_named_with_the_remedy(embedder: Recorder, tmp_path: Path) -> None:
    (tmp_path / "chroma.sqlite3").write_bytes(b"not a database" * 1_000)
    with EpisodeIndex(tmp_path, embedder) as index, pytest.raises(StorageError, match="memory rebuild") as error:
        index.search(MAYA, "a film", 1)
    assert str(tmp_path) in str(error.value)


def test_vectors_of_the_wrong_length_are_an_error_of_ours(index: EpisodeIndex, embedder: Recorder, ask: Ask) -> None:
    index.add(MAYA, [ask("1", "a film")])
    embedder.dimensions = 3
    with pytest.raises(StorageError, match="dimension"):
        index.search(MAYA, "a film", 1)


def test_no_text_is_written_to_chromas_files(embedder: Recorder, ask: Ask, tmp_path: Path) -> None:
    secret = ask("1", "zanzibarqueryword", ground_truth="zanzibartruthword", response="zanzibarsaidword")
    with EpisodeIndex(tmp_path, embedder) as index:
        index.add(MAYA, [secret])
        found(index, MAYA)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"zanzibar" in path.read_bytes()]


def test_a_copy_is_the_index_itself(index: EpisodeIndex) -> None:
    assert copy.deepcopy(index) is copy.copy(index) is index


def test_threads_may_share_an_index(index: EpisodeIndex, ask: Ask) -> None:
    def work(user_key: str) -> None:
        for place in range(10):
            index.add(user_key, [ask(str(place), f"film {place}")])
            seen.append(len(found(index, user_key)) - place)

    seen: list[int] = []
    threads = [threading.Thread(target=work, args=(f"{key:016x}",)) for key in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 40
