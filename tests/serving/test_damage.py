"""A damaged index and a full disk: what can go on goes on, nothing is paid for in vain, and erasing works."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from personaagent.data.errors import FullError, StorageError
from personaagent.data.interaction import Interaction
from personaagent.data.store import Store, database

from .conftest import serving_home


def damage(folder: Path, what: str) -> None:
    """Damage a file of the index."""
    names = {"database": "chroma.sqlite3", "header": "header.bin", "vectors": "data_level0.bin"}
    if what == "folder":
        (folder / "chroma.sqlite3").unlink()
        (folder / "chroma.sqlite3").mkdir()
        return
    for file in folder.rglob(names[what]):
        size = file.stat().st_size
        file.write_bytes(b"\xa5" * (size // 2))


@pytest.mark.parametrize("what", ["database", "header", "vectors", "folder"])
def test_with_a_damaged_index_it_answers_without_memory_forgets_erases_and_is_made_anew(
    tmp_path: Path, what: str
) -> None:
    with serving_home(tmp_path) as up:
        key = up.key_of("maya")
        many = [{"query": f"film {number}", "id": f"{number}", "ground_truth": "noir"} for number in range(3)]
        assert {up.client.post("/v1/interactions", json=each, headers=key).status_code for each in many} == {201}
        assert up.chat(key).json()["personaagent"]["without_memory"] is False
    damage(tmp_path / "chroma", what)
    with serving_home(tmp_path) as up:
        omar = up.key_of("omar")
        for _ in range(2):
            answered = up.chat(key)
            assert answered.status_code == 200, answered.text
            up.client.post("/v1/interactions", json={"query": "still stored"}, headers=key).raise_for_status()
            assert up.chat(omar).status_code == 200
        assert up.client.get("/v1/memory", headers=key).status_code == 200
        up.home.store.rebuild_index()
        assert up.chat(key).json()["personaagent"]["without_memory"] is False
        found = up.client.post("/v1/memory/search", json={"query": "film 1", "k": 1}, headers=key).json()
        assert [episode["interaction"]["interaction_id"] for episode in found["episodes"]] == ["1"]
        assert up.client.delete("/v1/me", headers=key).json()["left"] == []


def test_ready_says_that_the_disk_is_nearly_full_nothing_is_paid_for_and_an_erasure_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving_home(tmp_path) as up:
        key = up.key_of("maya")
        assert up.client.get("/readyz").status_code == 200
        assert up.chat(key).status_code == 200
        paid = len(up.lm.requests)
        monkeypatch.setattr(database, "_LEAST_BYTES", 1 << 62)
        assert up.client.get("/readyz").status_code == 503
        assert up.chat(key).status_code == 503
        assert "disk is full" in up.client.post("/v1/interactions", json={"query": "q"}, headers=key).json()["detail"]
        assert len(up.lm.requests) == paid
        assert up.client.get("/v1/memory", headers=key).status_code == 200
        assert up.client.delete("/v1/me", headers=key).json()["removed"]["interactions"] == 1
        assert not (tmp_path / "store.reserve").exists(), "the reserve is there to be used"
        monkeypatch.undo()
        assert up.client.get("/readyz").status_code == 200
        assert (tmp_path / "store.reserve").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 48 MiB, for whoever may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "none", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)  # noqa: S607


def fill(disk: Path) -> Path:
    """Leave no byte free."""
    file = disk / "others"
    with file.open("wb", buffering=0) as filling:
        try:
            while True:
                filling.write(bytes(1 << 16))
        except OSError:
            pass
    return file


def test_on_a_full_disk_it_starts_says_so_pays_for_nothing_erases_and_goes_on_when_there_is_room(
    small_disk: Path,
) -> None:
    home = small_disk / "home"
    with serving_home(home) as up:
        key, omar = up.key_of("maya"), up.key_of("omar")
        for each in (key, omar):
            assert up.chat(each).status_code == 200
        others = fill(small_disk)
        assert up.client.get("/readyz").status_code == 503
        assert up.chat(key).status_code == 503
        assert len(up.lm.requests) == 2
    with serving_home(home) as up:
        assert up.client.get("/readyz").status_code == 503
        erased = up.client.delete("/v1/me", headers=key)
        assert (erased.status_code, erased.json()["removed"]["interactions"]) == (200, 1)
        assert [user.user_id for user in up.home.store.users()] == ["omar"]
        others.unlink()
        assert up.client.get("/readyz").status_code == 200
        assert up.chat(omar).status_code == 200
    with serving_home(home) as up:
        assert up.home.store.people.tombstones.all() == ()
        assert up.client.get("/readyz").status_code == 200


def test_a_database_that_refused_to_write_for_want_of_room_is_not_ready_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Store.open("sqlite://") as store:
        user = store.add_user("maya")
        store.ping()
        with store.database.write() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        with pytest.raises(StorageError, match="free some space"):
            user.interactions.add([Interaction(interaction_id="1", query="q" * 100_000)])
        with pytest.raises(FullError):
            store.ping()
        assert store.people.erase("maya")["users"] == 1
        monkeypatch.setattr(database, "_FULL_SECONDS", 0.0)
        store.ping()
