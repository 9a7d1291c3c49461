"""What holds a user's words can be read by nobody but its owner."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from personaagent import lms
from personaagent.home import Home
from personaagent.settings import Settings
from personaagent.testing import HashEmbedder

from ..people.made_up import live_through
from .command_line import CommandLine, done


@pytest.fixture(autouse=True)
def generous() -> Iterator[None]:
    """Let new files be readable by all, as most systems do."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def rights(path: Path) -> str:
    return oct(path.stat().st_mode & 0o777)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setattr(lms, "open_embedder", lambda _: HashEmbedder())
    with Home(Settings(home=tmp_path / "home")) as home:
        yield home


@pytest.mark.slow
def test_a_new_home_and_its_databases_are_its_owners_alone(home: Home) -> None:
    live_through(home, "maya", "film")
    assert rights(home.folder) == "0o700"
    for name in ("store.db", "store.db-wal", "mlflow.db"):
        assert rights(home.folder / name) == "0o600", name


def test_an_older_home_that_others_could_read_is_closed_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lms, "open_embedder", lambda _: HashEmbedder())
    folder = tmp_path / "home"
    Home(Settings(home=folder)).close()
    folder.chmod(0o755)
    for file in folder.glob("store.db*"):
        file.chmod(0o644)
    with Home(Settings(home=folder)):
        assert {rights(file) for file in folder.glob("store.db*")} == {"0o600"}
        assert rights(folder) == "0o700"


@pytest.mark.slow
def test_an_export_is_its_owners_alone_also_over_an_older_file(personaagent: CommandLine, tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    old.write_text("older")
    done(personaagent("memory", "tell", "--user", "maya", "I am vegetarian"))
    for file in (new, old):
        done(personaagent("user", "export", "maya", file))
        assert rights(file) == "0o600"
        assert "vegetarian" in file.read_text()
    done(personaagent("user", "export", "maya", "/dev/null"))
    assert rights(Path("/dev/null")) == "0o666"
