"""The database and its failures: what cannot be written is not stored, and the error says what to do."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from personaagent.data.errors import SetupError, StorageError
from personaagent.data.store import Store

from .conftest import alignment, interaction, persona

LONG = "many made-up words " * 5_000


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Let no database grow over 60 pages of 4 KiB: SQLite then fails as on a full disk."""

    def limit(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA max_page_count=60")

    event.listen(Engine, "connect", limit)
    yield
    event.remove(Engine, "connect", limit)


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_during_ingest_stores_nothing(file: Path) -> None:
    with Store.open(file) as store:
        user = store.add_user("maya")
        user.interactions.add([interaction(0)])
        with pytest.raises(StorageError, match=r"store\.db: database or disk is full; nothing .* free some space"):
            user.interactions.add([interaction(number, query=LONG) for number in range(1, 9)])
        with pytest.raises(StorageError):
            store.ingest({"ben": [interaction(1)], "zoe": [interaction(2, query=LONG * 9)]})
        assert [one.user_id for one in store.users()] == ["maya"]
        assert user.interactions.add([interaction(9)]) == 1
    with Store.open(file) as store:
        assert [one.interaction_id for one in store.user("maya").interactions.all()] == ["i0", "i9"]


def test_a_disk_that_refuses_to_write_stores_nothing(file: Path) -> None:
    program = f"""
import resource
from pathlib import Path
from personaagent.data.errors import StorageError
from personaagent.data.interaction import Interaction
from personaagent.data.store import Store

with Store.open(Path({str(file)!r})) as store:
    user = store.add_user("maya")
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    try:
        user.interactions.add([Interaction(interaction_id=str(number), query="x" * 1000) for number in range(999)])
    except StorageError as error:
        print(error)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "nothing of this call was stored" in ran.stdout
    with Store.open(file) as store:
        assert len(store.user("maya").interactions) == 0


def test_an_error_in_the_middle_of_an_alignment_leaves_nothing(file: Path) -> None:
    with Store.open(file) as store:
        user = store.add_user("maya")
        user.personas.add(persona("base"), reason="made up", status="live")
        with sqlite3.connect(file) as intruder:
            intruder.execute(
                "CREATE TRIGGER fails BEFORE INSERT ON promotions WHEN NEW.number = 3 "
                "BEGIN SELECT RAISE(ABORT, 'made to fail'); END"
            )
        intruder.close()
        with pytest.raises(StorageError, match="made to fail"):
            user.alignments.add(alignment("first", ("b", True), ("c", True), base_version=1))
        assert user.alignments.all() == ()
        assert [one.number for one in user.personas.versions()] == [1]
        assert [one.number for one in user.personas.promotions()] == [1]


def test_a_file_that_may_not_be_written_can_be_read(file: Path) -> None:
    with Store.open(file) as store:
        store.add_user("maya").interactions.add([interaction(1)])
    with Store.open(f"sqlite:///file:{file}?mode=ro&uri=true") as store:
        user = store.user("maya")
        assert len(user.interactions) == 1
        with pytest.raises(StorageError, match=r"readonly database; .* make the file and its folder writable"):
            user.interactions.add([interaction(2)])


def test_no_words_of_a_user_are_in_an_error(file: Path) -> None:
    with Store.open(file) as store:
        user = store.add_user("maya")
        with sqlite3.connect(file) as intruder:
            intruder.execute("DROP TABLE interactions")
        intruder.close()
        with pytest.raises(StorageError) as caught:
            user.interactions.add([interaction(1, query="private words")])
    assert "private words" not in f"{caught.value}{caught.value.__cause__}"


def test_a_closed_store_says_so(store: Store) -> None:
    user = store.add_user("maya")
    store.close()
    store.close()
    with pytest.raises(SetupError, match="closed"):
        user.interactions.all()


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("these are made-up notes, not a database " * 200)
    for wrong in (text, tmp_path, tmp_path / "missing" / "store.db"):
        with pytest.raises(StorageError, match=str(wrong)):
            Store.open(wrong)
    assert text.read_text().startswith("these are")


@pytest.mark.parametrize("url", ["", "store.db", "nosuch://host/name", "mysql://user:hidden@host/name"])
def test_a_url_that_leads_nowhere_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SetupError) as caught:
        Store.open(url)
    assert "hidden" not in str(caught.value)


@pytest.fixture
def pragmas() -> Iterator[dict[str, object]]:
    """What SQLite says of the last connection that was used."""
    found: dict[str, object] = {}

    def look(connection: sqlite3.Connection, *_: object) -> None:
        for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete"):
            [found[name]] = connection.execute(f"PRAGMA {name}").fetchone()

    event.listen(Engine, "checkout", look)
    yield found
    event.remove(Engine, "checkout", look)


def test_what_is_acknowledged_is_on_disk_and_what_is_deleted_is_wiped(file: Path, pragmas: dict[str, object]) -> None:
    with Store.open(file) as store:
        store.add_user("maya")
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}


def test_what_was_forgotten_is_in_no_file(file: Path) -> None:
    with Store.open(file) as store:
        user = store.add_user("maya")
        user.interactions.add([interaction(1, query="canary words"), interaction(2)])
        user.interactions.forget("i1")
    assert not [one for one in file.parent.iterdir() if b"canary words" in one.read_bytes()]


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_threads_share_a_store(file: Path, kind: str) -> None:
    with Store.open(file if kind == "file" else "sqlite://") as store:
        user = store.add_user("maya")

        def write(thread: int) -> None:
            for number in range(10):
                user.interactions.add([interaction(number, interaction_id=f"{thread}-{number}")])
                user.interactions.all()

        threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(one.position for one in user.interactions.all()) == list(range(40))
