"""The database and its failures: what cannot be written is not stored, and the error says what to do."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, text

from personaagent.data.errors import SetupError, StorageError
from personaagent.data.store import Store
from personaagent.data.store.database import Database

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
        assert [each.user_id for each in store.users()] == ["maya"]
        assert user.interactions.add([interaction(9)]) == 1
    with Store.open(file) as store:
        assert [item.interaction_id for item in store.user("maya").interactions.all()] == ["i0", "i9"]


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


def test_an_error_in_the_middle_of_an_alignment_leaves_nothing(url: str) -> None:
    with Store.open(url) as store:
        user = store.add_user("maya")
        user.personas.add(persona("base"), reason="made up", status="live")
        intrude(url, "CREATE UNIQUE INDEX fails ON promotions ((CASE WHEN number > 1 THEN 1 END))")
        with pytest.raises(StorageError, match="fails"):
            user.alignments.add(alignment("first", ("b", True), ("c", True), base_version=1))
        assert user.alignments.all() == ()
        assert [version.number for version in user.personas.versions()] == [1]
        assert [promotion.number for promotion in user.personas.promotions()] == [1]


def test_a_file_that_may_not_be_written_can_be_read(file: Path) -> None:
    with Store.open(file) as store:
        store.add_user("maya").interactions.add([interaction(1)])
    with Store.open(f"sqlite:///file:{file}?mode=ro&uri=true") as store:
        user = store.user("maya")
        assert len(user.interactions) == 1
        with pytest.raises(StorageError, match=r"readonly database; .* make the file and its folder writable"):
            user.interactions.add([interaction(2)])


def test_no_words_of_a_user_are_in_an_error(url: str) -> None:
    with Store.open(url) as store:
        user = store.add_user("maya")
        intrude(url, "DROP TABLE interactions")
        with pytest.raises(StorageError) as caught:
            user.interactions.add([interaction(1, query="private words")])
    assert "private words" not in shown(caught.value)


def test_a_closed_store_says_so(store: Store) -> None:
    user = store.add_user("maya")
    store.close()
    store.close()
    with pytest.raises(SetupError, match="closed"):
        user.interactions.all()


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("these are made-up notes, not a database " * 200)
    for wrong in (notes, tmp_path, tmp_path / "missing" / "store.db"):
        with pytest.raises(StorageError, match=str(wrong)):
            Store.open(wrong)
    assert notes.read_text().startswith("these are")


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "store.db",
        "nosuch://host/name",
        "mysql://user:hidden@host/name",
        "postgresql+psycopg2://user:hidden@host/name",
        "postgresql://user@host:hidden/name",
    ],
)
def test_a_url_that_leads_nowhere_is_refused_without_its_password(wrong: str) -> None:
    with pytest.raises(SetupError, match="write sqlite:///FILE or postgresql://") as caught:
        Store.open(wrong)
    assert "hidden" not in shown(caught.value)


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
    assert not [path for path in file.parent.iterdir() if b"canary words" in path.read_bytes()]


def test_a_reader_sees_one_state_whatever_others_write_meanwhile(url: str) -> None:
    with Store.open(url) as store, closing(Database(url)) as database:
        user = store.add_user("maya")
        count = text("SELECT count(*) FROM interactions")
        with database.read() as connection:
            assert connection.scalar(count) == 0
            user.interactions.add([interaction(1)])
            assert connection.scalar(count) == 0
        with database.read() as connection:
            assert connection.scalar(count) == 1


def test_threads_that_share_a_store_write_one_after_the_other(store: Store) -> None:
    add_at_once(store)


def test_threads_that_share_a_file_write_one_after_the_other(file: Path) -> None:
    with Store.open(file) as store:
        add_at_once(store)


def add_at_once(store: Store) -> None:
    user = store.add_user("maya")

    def write(thread: int) -> None:
        for number in range(10):
            user.interactions.add([interaction(number, interaction_id=f"{thread}-{number}")])
            user.interactions.all()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(8)))
    assert {each.interaction_id for each in user.interactions.all()} == {
        f"{t}-{n}" for t in range(8) for n in range(10)
    }
    assert sorted(item.position for item in user.interactions.all()) == list(range(80))


def intrude(url: str, statement: str) -> None:
    """Change the database behind the store's back."""
    with closing(Database(url)) as database, database.write() as connection:
        connection.exec_driver_sql(statement)


def shown(error: BaseException | None) -> str:
    """Return what a log would show of an error: its own words and those of the errors behind it."""
    if error is None:
        return ""
    behind = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return f"{error!r} {shown(behind)}"


def test_another_process_that_writes_for_too_long_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("personaagent.data.store.engines.BUSY_TIMEOUT_SECONDS", 0.1)
    with Store.open(file) as store, closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="another process has been writing for too long"):
            store.usage.add("0", date(2024, 5, 1), 1, 0.0)
        other.rollback()
        assert store.usage.add("0", date(2024, 5, 1), 1, 0.0).calls == 1
