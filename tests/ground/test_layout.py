"""The folders, and the three places that must name them: the package list, the mirror for type checkers, the wheel."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
ROOMS: dict[str, str] = SETUPTOOLS["package-dir"]
MIRROR = ROOT / ".typing" / "personaagent"


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)


def _by_name_of_import() -> dict[str, Path]:
    """Map each file of the rooms to the path under which it is installed."""
    return {
        (Path(*package.split(".")) / path.relative_to(ROOT / room)).as_posix(): path
        for package, room in ROOMS.items()
        for path in _files(ROOT / room)
    }


def test_every_package_is_listed() -> None:
    folders = {Path(name).parent for name in _by_name_of_import() if name.endswith(".py")}
    assert sorted(SETUPTOOLS["packages"]) == sorted(".".join(folder.parts) for folder in folders)
    assert SETUPTOOLS["packages"] == sorted(SETUPTOOLS["packages"])


def test_the_mirror_shows_every_room_under_the_name_of_its_import() -> None:
    rooms = {package.partition(".")[2]: ROOT / room for package, room in ROOMS.items() if "." in package}
    application = {entry.name: entry for entry in (ROOT / "src" / "personaagent").iterdir()}
    shown = {entry.name: entry.resolve() for entry in MIRROR.iterdir() if entry.is_symlink()}
    wanted = rooms | application
    assert {name: path for name, path in wanted.items() if name not in ("__pycache__", "py.typed")} == shown


def test_type_checkers_look_at_everything_in_the_mirror() -> None:
    commented = (MIRROR.parent / "pyrightconfig.json").read_text()
    included = json.loads(re.sub(r"^//.*$", "", commented, flags=re.MULTILINE))["include"]
    python = {entry for entry in MIRROR.iterdir() if entry.suffix == ".py" or next(entry.rglob("*.py"), None)}
    assert included == [*(f"personaagent/{name}" for name in sorted(entry.name for entry in python)), "../tests"]


def test_the_wheel_holds_every_file_of_the_rooms_and_nothing_else(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "wheel"
    for room in ROOMS.values():
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    target.mkdir()
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(target)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    with zipfile.ZipFile(next(target.iterdir())) as wheel:
        installed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert installed == set(_by_name_of_import())
