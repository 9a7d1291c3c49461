"""A real PostgreSQL server of the tests' own, reached by a socket in its folder; and databases for tests that want both.

The server is Debian's package or any other whose programs are found; it runs as another user where tests run as root.
"""

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import psycopg
import pytest

_START_SECONDS = 60
_USER = "tester"


class PostgresServer:
    """A running server.

    Args:
        folder: Where its socket is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._numbers = folder, count(1)

    def admin(self) -> psycopg.Connection[Any]:
        """Return a connection that may do everything and commits each statement."""
        return psycopg.connect(host=str(self._folder), user=_USER, dbname="postgres", autocommit=True)

    def new_url(self) -> str:
        """Return the URL of a new, empty database: a schema of its own, which costs less than a database."""
        schema = f"test_{next(self._numbers)}"
        with self.admin() as connection:
            connection.execute(f"CREATE SCHEMA {schema}".encode())
        return f"postgresql://{_USER}@/postgres?host={self._folder}&options=-csearch_path%3D{schema}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server, started for the first test that wants it and stopped after the last."""
    programs = _programs()
    if programs is None:
        why = "no PostgreSQL is installed here: apt-get install postgresql (or put initdb and postgres on PATH)"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    with running_postgres(programs) as server:
        yield server


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def new_url(request: pytest.FixtureRequest) -> Callable[[], str]:
    """Return the URL of another empty database at each call: SQLite's in memory and, once more, PostgreSQL's."""
    if request.param == "sqlite":
        return lambda: "sqlite://"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_url


@pytest.fixture
def url(new_url: Callable[[], str], tmp_path: Path) -> str:
    """The URL of an empty database that several stores can open: a SQLite file and, once more, PostgreSQL."""
    new = new_url()
    return f"sqlite:///{tmp_path / 'store.db'}" if new == "sqlite://" else new


@contextmanager
def running_postgres(programs: Path) -> Iterator[PostgresServer]:
    """Start a server from the programs in a folder, and stop it."""
    folder = Path(mkdtemp(prefix="personaagent-pg-"))
    # PostgreSQL refuses root; and its user sees no folder of ours, so the server's is not among pytest's.
    other: dict[str, Any] = {}
    if os.getuid() == 0:
        user = _unprivileged()
        os.chown(folder, user.pw_uid, user.pw_gid)
        other = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    try:
        initdb = [programs / "initdb", "-D", folder / "data", "-U", _USER, "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run([*initdb, "--no-locale"], check=True, capture_output=True, cwd=folder, **other)
        with (folder / "log").open("wb") as log:
            serve = [programs / "postgres", "-D", folder / "data", "-k", folder, "-h", ""]
            server = subprocess.Popen(
                serve, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder, start_new_session=True, **other
            )
        try:
            yield _once_ready(PostgresServer(folder), server, folder / "log")
        finally:
            _stop(server)
    finally:
        shutil.rmtree(folder)


def _programs() -> Path | None:
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    # Debian keeps a folder for each version, and none of them on PATH.
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(folders, key=lambda folder: int(folder.parent.name), default=None)


def _unprivileged() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _once_ready(server: PostgresServer, process: "subprocess.Popen[bytes]", log: Path) -> PostgresServer:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            server.admin().close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return server
    raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}")


def _stop(server: "subprocess.Popen[bytes]") -> None:
    server.send_signal(signal.SIGINT)  # its "fast shutdown": open transactions are rolled back
    try:
        server.wait(30)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
