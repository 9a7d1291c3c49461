"""A real PostgreSQL server of the tests' own, and empty databases for tests that are run on both kinds.

Its programs are those of Debian's package or on PATH. It runs as another user where tests run as root.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from psycopg import Connection

_START_SECONDS = 60
_USER = "tester"
_UNSAFE = ("-c", "fsync=off", "-c", "full_page_writes=off")
"""The tests kill processes, not the machine: nothing has to be on the disk itself."""


class CannotStartError(Exception):
    """There is no server to test with."""


class PostgresServer:
    """A running server.

    Args:
        folder: Where its socket is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._numbers = folder, count(1)

    def admin(self) -> "Connection[Any]":
        """Return a connection that may do everything and commits each statement."""
        import psycopg

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
    with ExitStack() as running:
        try:
            server = running.enter_context(running_postgres())
        except CannotStartError as error:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))
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
def running_postgres() -> Iterator[PostgresServer]:
    """Start a server, and stop it.

    Raises:
        CannotStartError: It is not installed, or it ended at once.
    """
    programs = _programs()
    # The server's user could not enter pytest's folder, which belongs to the user of the tests.
    folder = Path(mkdtemp(prefix="personaagent-pg-"))
    try:
        as_user = _owner(folder)
        initdb = [programs / "initdb", "-D", folder / "data", "-U", _USER, "-A", "trust", "-E", "UTF8", "--no-locale"]
        made = subprocess.run([*initdb, "--no-sync"], check=False, capture_output=True, cwd=folder, **as_user)
        if made.returncode:
            raise CannotStartError(f"initdb failed: {made.stderr.decode()}")
        serve = [*tied_to_us(), programs / "postgres", "-D", folder / "data", "-k", folder, "-h", "", *_UNSAFE]
        with (folder / "log").open("wb") as log:
            # In a session of its own: Ctrl-C ends the tests first.
            process = subprocess.Popen(serve, stdout=log, stderr=log, cwd=folder, start_new_session=True, **as_user)
        try:
            yield _once_ready(PostgresServer(folder), process, folder / "log")
        finally:
            _stop(process)
    finally:
        shutil.rmtree(folder)


def _programs() -> Path:
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    # Debian keeps a folder for each version, and none of them on PATH.
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if not folders:
        raise CannotStartError("no PostgreSQL is installed: apt-get install postgresql, or put its programs on PATH")
    return max(folders, key=lambda folder: int(folder.parent.name))


def _owner(folder: Path) -> dict[str, Any]:
    """Return as whom to run the server, and give that user the folder: PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return {}
    import pwd

    users = {user.pw_name: user for user in pwd.getpwall()}
    user = users.get("postgres") or users["nobody"]
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def tied_to_us() -> list[str]:
    """Return what to put before a command so that, on Linux, it is told to end when the tests are killed."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "INT"] if setpriv else []


def _once_ready(server: PostgresServer, process: "subprocess.Popen[Any]", log: Path) -> PostgresServer:
    from psycopg import OperationalError

    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            server.admin().close()
        except OperationalError:
            time.sleep(0.05)
        else:
            return server
    raise CannotStartError(f"PostgreSQL did not start: {log.read_text()}")


def _stop(process: "subprocess.Popen[Any]") -> None:
    process.send_signal(signal.SIGQUIT)  # At once: what is in it goes too.
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
