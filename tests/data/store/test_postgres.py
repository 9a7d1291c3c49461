"""What is PostgreSQL's own: its URL, its driver, its server that may be away, its locks."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import text

from personaagent.data.errors import SetupError, StorageError
from personaagent.data.store import Store, engines
from personaagent.data.store.database import Database

from ...postgres import PostgresServer
from .conftest import interaction
from .test_database import intrude, shown

END_OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = user"


@pytest.fixture
def address(postgres: PostgresServer) -> str:
    return postgres.new_url()


@pytest.fixture
def database(address: str) -> Iterator[Database]:
    with closing(Database(address)) as database:
        yield database


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_way_to_write_the_url_leads_to_the_server(address: str, scheme: str) -> None:
    with Store.open(address.replace("postgresql", scheme, 1)) as store:
        assert store.users() == ()


def test_a_driver_that_is_not_installed_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(SetupError, match=r"pip install personaagent\[postgres\]"):
        Store.open("postgresql://host/name")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://maya:hidden@127.0.0.1:1/name",
        "postgresql://maya@127.0.0.1:1/name?password=hidden",
        "postgresql://maya:hidden@/name?host=/no/such/folder",
    ],
)
def test_a_server_that_is_not_there_is_an_error_without_the_password(url: str) -> None:
    with pytest.raises(
        StorageError, match=r"connection .* nothing .* stored: check the URL, and that the server is up"
    ) as caught:
        Store.open(url)
    assert "hidden" not in shown(caught.value)


def test_a_database_that_is_not_there_is_an_error(address: str) -> None:
    with pytest.raises(StorageError, match='database "missing" does not exist; nothing of this call was stored'):
        Store.open(address.replace("/postgres?", "/missing?"))


@pytest.fixture
def encoded(postgres: PostgresServer, address: str, encoding: str) -> str:
    """The URL of a database in another encoding than UTF-8."""
    with postgres.admin() as connection:
        connection.execute(f"CREATE DATABASE {encoding} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'".encode())
    return address.partition("&options")[0].replace("/postgres?", f"/{encoding}?")


@pytest.mark.parametrize("encoding", ["sql_ascii"])
def test_a_database_of_no_encoding_holds_every_text(encoded: str) -> None:
    with Store.open(encoded) as store:
        store.add_user("maya").interactions.add([interaction(1, query="übermorgen 🙂")])
        assert store.user("maya").interactions.get("i1").query == "übermorgen 🙂"


@pytest.mark.parametrize("encoding", ["latin1"])
def test_a_database_that_cannot_hold_every_text_says_how_to_make_one_that_can(encoded: str) -> None:
    with Store.open(encoded) as store:
        user = store.add_user("maya")
        assert user.interactions.add([interaction(1, query="übermorgen")]) == 1
        with pytest.raises(StorageError, match="nothing of this call was stored: make the database with the encoding"):
            user.interactions.add([interaction(2, query="private words 🙂")])
        assert user.interactions.all() == (interaction(1, query="übermorgen"),)


def test_an_error_does_not_quote_the_row_that_failed(address: str) -> None:
    with Store.open(address) as store:
        user = store.add_user("maya")
        intrude(address, "ALTER TABLE interactions ADD CONSTRAINT only_one CHECK (position < 1)")
        with pytest.raises(StorageError, match='violates check constraint "only_one"; nothing of this call') as caught:
            user.interactions.add([interaction(1), interaction(2, query="private words")])
        assert "private words" not in shown(caught.value)
        assert len(user.interactions) == 0


def test_a_user_without_rights_is_told_so(postgres: PostgresServer, address: str) -> None:
    with postgres.admin() as connection:
        connection.execute("CREATE ROLE guest LOGIN")
        connection.execute(f"GRANT USAGE ON SCHEMA {address.rpartition('%3D')[2]} TO guest".encode())
    with pytest.raises(StorageError, match=r"permission denied .* let this user make tables"):
        Store.open(address.replace("tester", "guest"))


def test_a_writer_that_waits_too_long_for_another_says_so(
    address: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_TAKE_LOCK", engines._TAKE_LOCK.replace("'10s'", "'100ms'"))
    with Store.open(address) as store, database.write():
        with pytest.raises(StorageError, match="another process has been writing for too long"):
            store.add_user("maya")
        assert store.users() == ()


def test_an_append_waits_for_no_writer(address: str, database: Database) -> None:
    with closing(Database(address)) as other:
        intrude(address, "CREATE TABLE lines (number INTEGER)")

        def append() -> None:
            with other.append() as connection:
                connection.execute(text("INSERT INTO lines VALUES (1)"))

        with database.write(), ThreadPoolExecutor(1) as thread:
            thread.submit(append).result(timeout=10)
        with database.read() as connection:
            assert connection.scalar(text("SELECT count(*) FROM lines")) == 1


def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(StorageError, match="read-only transaction"), database.read() as connection:
        connection.execute(text("CREATE TABLE lines (number INTEGER)"))


def test_a_store_outlives_connections_that_were_cut_while_nobody_used_them(
    postgres: PostgresServer, address: str
) -> None:
    with Store.open(address) as store:
        user = store.add_user("maya")
        with postgres.admin() as connection:
            connection.execute(END_OTHERS)
        assert user.interactions.add([interaction(1)]) == 1


def test_of_a_call_whose_connection_was_cut_nothing_is_claimed(postgres: PostgresServer, database: Database) -> None:
    def cut() -> None:
        with database.write() as connection, postgres.admin() as admin:
            connection.execute(text("CREATE TABLE lines (number INTEGER)"))
            admin.execute(END_OTHERS)
            connection.execute(text("INSERT INTO lines VALUES (1)"))

    with pytest.raises(StorageError, match="whether this call was stored is not known: check the URL, and that"):
        cut()
