"""LaMP's official files, downloaded from where LaMP publishes them, and refused if they are something else.

The package holds none of LaMP's data (CC BY-NC-SA 4.0; each source keeps its own licence).
"""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import httpx

from ..errors import InputError, ServiceError, StorageError, UnknownNameError
from ..task import Task
from .files import read_golds, read_questions

BASE_URL = "https://ciir.cs.umass.edu/downloads/LaMP"
SPLITS = ("train", "dev", "test")

_FOLDERS = {
    "LaMP-1": "LaMP_1",
    "LaMP-2M": "LaMP_2/new",
    "LaMP-2N": "LaMP_2",
    "LaMP-3": "LaMP_3",
    "LaMP-4": "LaMP_4",
    "LaMP-5": "LaMP_5",
    "LaMP-7": "LaMP_7",
}
_TIMEOUT_SECONDS = 60.0

Progress = Callable[[str, int, int | None], None]
"""Called with the file's name, the bytes so far, and the bytes of the whole file if the server says so."""


def fetch(
    task: Task,
    split: str,
    target: Path,
    *,
    time_based: bool = False,
    client: httpx.Client | None = None,
    on_progress: Progress | None = None,
) -> tuple[Path, ...]:
    """Download the questions and outputs of one split; `load(target, task, split)` reads them.

    The golds of the user-based test split are not public: only its questions are fetched.

    Args:
        task: One of LaMP's tasks, but LaMP-6: its e-mails are LDC2015T03, which has to be bought.
        split: `train`, `dev` or `test`.
        target: Folder for the files. They appear in it complete and checked, or not at all.
        time_based: The time-based separation (same users, later questions) instead of the user-based one.
        client: What to download with; by default one that gives up after a minute without a byte.
        on_progress: Called after each block.

    Returns:
        The files.

    Raises:
        UnknownNameError: LaMP publishes no such split, or no such task.
        ServiceError: The server did not answer, or not with the file: the message says what came instead.
        StorageError: A file could not be written.
    """
    urls = official_urls(task, split, time_based=time_based)
    try:
        target.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(dir=target, prefix=".fetch-") as folder,
            nullcontext(client) if client else httpx.Client(timeout=_TIMEOUT_SECONDS) as http,
        ):
            files = [_download(http, url, Path(folder), on_progress) for url in urls]
            return tuple(file.replace(target / file.name) for file in files)
    except OSError as error:
        raise StorageError(f"{target}: cannot write the downloaded files: {error.strerror}") from error


def official_urls(task: Task, split: str, *, time_based: bool = False) -> Sequence[str]:
    """Return where LaMP publishes the files of a split, questions first."""
    if task.name not in _FOLDERS:
        raise UnknownNameError("LaMP task with a download", task.name, list(_FOLDERS))
    if split not in SPLITS:
        raise UnknownNameError("split", split, list(SPLITS))
    base = f"{BASE_URL}/time" if time_based else BASE_URL
    kinds = ("questions",) if split == "test" and not time_based else ("questions", "outputs")
    return [f"{base}/{_FOLDERS[task.name]}/{split}/{split}_{kind}.json" for kind in kinds]


def _download(client: httpx.Client, url: str, folder: Path, on_progress: Progress | None) -> Path:
    file = folder / url.rsplit("/", 1)[1]
    try:
        with client.stream("GET", url, follow_redirects=True) as response:
            _check_header(response, url)
            _write_body(response, url, file, on_progress)
    except httpx.HTTPError as error:
        raise ServiceError(f"{url}: the download failed ({type(error).__name__}: {error}): try again later") from error
    _check_content(file, url)
    return file


def _check_header(response: httpx.Response, url: str) -> None:
    if response.status_code != 200:
        raise ServiceError(f"{url}: the server answered {response.status_code} {response.reason_phrase}")
    kind = response.headers.get("Content-Type", "")
    if "html" in kind:
        raise ServiceError(f"{url}: a web page came ({kind}), not the JSON file: the address may have changed")


def _write_body(response: httpx.Response, url: str, file: Path, on_progress: Progress | None) -> None:
    announced = response.headers.get("Content-Length", "")
    expected = int(announced) if announced.isdecimal() else None
    with file.open("wb") as body:
        for block in response.iter_bytes():
            body.write(block)
            if on_progress:
                on_progress(file.name, response.num_bytes_downloaded, expected)
    if expected is not None and response.num_bytes_downloaded != expected:
        raise ServiceError(f"{url}: {response.num_bytes_downloaded:,} of {expected:,} bytes came: try again")


def _check_content(file: Path, url: str) -> None:
    """Refuse what is not LaMP's JSON; `load` reads the texts."""
    try:
        if file.name.endswith("_questions.json"):
            for question in read_questions(file).values():
                question.items("profile")
        else:
            read_golds(file)
    except InputError as error:
        raise ServiceError(f"{url}: what came is not LaMP's file: {error}") from error
