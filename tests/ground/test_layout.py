"""What is built is the whole tree: the rooms at the top are in the wheel under the names of their imports."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "personaagent"
ROOMS = ("data", "optimizers", "programs", "signatures")


def files_of_the_tree() -> set[str]:
    folders = {"personaagent": PACKAGE, **{f"personaagent/{room}": ROOT / room for room in ROOMS}}
    return {
        f"{name}/{path.relative_to(folder).as_posix()}"
        for name, folder in folders.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def build(kind: str, source: Path, target: Path) -> Path:
    program = f"from setuptools import build_meta; build_meta.build_{kind}({str(target)!r})"
    subprocess.run([sys.executable, "-c", program], cwd=source, check=True, capture_output=True)
    [built] = target.iterdir()
    return built


@pytest.mark.slow
def test_wheel_and_source_hold_every_file_and_the_source_builds_the_same_wheel(tmp_path: Path) -> None:
    copy, source, wheel, again = (tmp_path / name for name in ("copy", "source", "wheel", "again"))
    for folder in (source, wheel, again):
        folder.mkdir()
    for folder in ("src", *ROOMS):
        shutil.copytree(
            ROOT / folder, copy / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, copy)
    assert names_in(build("wheel", copy, wheel)) == files_of_the_tree()
    with tarfile.open(build("sdist", copy, source)) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    [unpacked] = (tmp_path / "unpacked").iterdir()
    assert names_in(build("wheel", unpacked, again)) == files_of_the_tree()


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}
