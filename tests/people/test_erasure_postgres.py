"""Erasing a user from PostgreSQL: from every column of every table, and from the tables' files."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from psycopg import sql

from personaagent import lms
from personaagent.erasure import erase
from personaagent.home import Home
from personaagent.portable import export_user
from personaagent.settings import Settings
from personaagent.testing import HashEmbedder

from ..postgres import PostgresServer
from .made_up import ERASED, KEPT, WORD, answered_and_aligned, interactions, served, traces

pytestmark = pytest.mark.slow


class Tables(NamedTuple):
    """One database's tables, as SQL and as the disk has them."""

    server: PostgresServer
    schema: str

    def counts(self) -> dict[str, int]:
        """Return how many rows of each table hold a trace of the user."""
        with self.server.admin() as connection:
            found: dict[str, int] = {}
            for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [self.schema]):
                rows = sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(self.schema, name))
                found[name] = sum(has_trace(str(row).encode()) for (row,) in connection.execute(rows))
        return found

    def files_with_traces(self) -> list[str]:
        """Return the relations whose files hold a trace, the tables' indexes and long values included."""
        with self.server.admin() as connection:
            connection.execute("CHECKPOINT")
            [folder] = connection.execute("SHOW data_directory").fetchone() or ("",)
            paths = connection.execute(
                """WITH ours AS (SELECT c.oid, c.reltoastrelid FROM pg_class c JOIN pg_namespace n
                   ON n.oid = c.relnamespace WHERE n.nspname = %s)
                   SELECT c.relname, pg_relation_filepath(c.oid) FROM pg_class c WHERE pg_relation_filepath(c.oid)
                   IS NOT NULL AND (c.oid IN (SELECT oid FROM ours) OR c.oid IN (SELECT reltoastrelid FROM ours))""",
                [self.schema],
            ).fetchall()
        return [name for name, path in paths if has_trace((Path(folder) / path).read_bytes())]


def has_trace(data: bytes) -> bool:
    return any(trace.lower() in data.lower() for trace in traces(ERASED))


@pytest.fixture
def address(postgres: PostgresServer) -> str:
    return postgres.new_url()


@pytest.fixture
def tables(postgres: PostgresServer, address: str) -> Tables:
    return Tables(postgres, address.rpartition("%3D")[2])


@pytest.fixture
def home(tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setattr(lms, "open_embedder", lambda _: HashEmbedder())
    # MLflow's part is proved elsewhere; here nobody answers.
    monkeypatch.setattr(Home, "mirror", lambda *_: False)
    with Home(Settings(home=tmp_path, database=address)) as home:
        yield home


def test_no_row_and_no_file_of_a_table_tells_of_an_erased_user(home: Home, tables: Tables) -> None:
    for user_id, word in ((ERASED, WORD), (KEPT, "plain")):
        user = home.store.add_user(user_id)
        user.interactions.add(interactions(word))
        answered_and_aligned(home, user, word)
        served(home.store, user, word)
    before = list(export_user(home.store, KEPT))
    assert {name for name, count in tables.counts().items() if count} == {
        *("users", "interactions", "statements", "alignments", "persona_versions", "promotions"),
        *("runs", "calls", "attempts", "api_keys", "idempotency", "jobs"),
    }
    assert {"users", "interactions", "calls", "attempts"} <= set(tables.files_with_traces())

    assert erase(home, ERASED).left == ()
    assert not any(tables.counts().values())
    assert tables.files_with_traces() == []
    assert list(export_user(home.store, KEPT)) == before
