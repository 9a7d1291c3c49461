"""The download, from a made-up server with made-up files."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from personaagent.data.errors import ServiceError, StorageError, UnknownNameError
from personaagent.data.lamp import load, task_named
from personaagent.data.lamp.fetch import fetch, official_urls

MOVIES = task_named("LaMP-2M")
BASE = "https://ciir.cs.umass.edu/downloads/LaMP"
ITEM = {"id": "10", "description": "A clock runs backwards.", "tag": "sci-fi"}
QUESTIONS = json.dumps([{"id": "1", "input": "A ferry is late.", "profile": [ITEM]}]).encode()
GOLDS = json.dumps({"task": "LaMP_2", "golds": [{"id": "1", "output": "classic"}]}).encode()

Answer = Callable[[], httpx.Response]


def server(questions: Answer, golds: Answer = lambda: streamed(GOLDS)) -> httpx.Client:
    def answer(request: httpx.Request) -> httpx.Response:
        return questions() if request.url.path.endswith("_questions.json") else golds()

    return httpx.Client(transport=httpx.MockTransport(answer))


def streamed(body: bytes, announced: int | None = None) -> httpx.Response:
    """Send `body` as a server does, in pieces, under the length that is announced."""
    pieces = (body[start : start + 50] for start in range(0, len(body), 50))
    return httpx.Response(200, content=pieces, headers={"Content-Length": str(announced or len(body))})


def good() -> httpx.Response:
    return streamed(QUESTIONS)


def test_what_is_fetched_can_be_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    files = fetch(MOVIES, "dev", folder, client=server(good))
    assert [file.name for file in files] == ["dev_questions.json", "dev_outputs.json"]
    [question] = load(folder, MOVIES, "dev").questions
    assert question.ground_truth == "classic"
    assert sorted(folder.iterdir()) == sorted(files)


@pytest.mark.parametrize(
    ("task", "time_based", "folder"),
    [
        ("LaMP-1", False, "LaMP_1"),
        ("LaMP-2M", False, "LaMP_2/new"),
        ("LaMP-2M", True, "time/LaMP_2/new"),
        ("LaMP-2N", False, "LaMP_2"),
        ("LaMP-7", True, "time/LaMP_7"),
    ],
)
def test_each_task_has_its_official_address(task: str, time_based: bool, folder: str) -> None:
    urls = official_urls(task_named(task), "train", time_based=time_based)
    assert urls == [f"{BASE}/{folder}/train/train_{kind}.json" for kind in ("questions", "outputs")]


def test_golds_of_the_user_based_test_split_are_not_asked_for() -> None:
    assert official_urls(MOVIES, "test") == [f"{BASE}/LaMP_2/new/test/test_questions.json"]
    assert len(official_urls(MOVIES, "test", time_based=True)) == 2


@pytest.mark.parametrize(("task", "split"), [("LaMP-6", "dev"), ("open", "dev"), ("LaMP-3", "validation")])
def test_what_lamp_does_not_publish_is_refused_before_anything_is_asked(tmp_path: Path, task: str, split: str) -> None:
    with pytest.raises(UnknownNameError):
        fetch(task_named(task), split, tmp_path)


BAD: dict[str, tuple[Answer, str]] = {
    "a web page": (
        lambda: httpx.Response(200, html="<!doctype html><p>Moved."),
        r"LaMP_2/new/dev/dev_questions.json: a web page came \(text/html; charset=utf-8\)",
    ),
    "a web page that does not say so": (
        lambda: streamed(b"<html>"),
        "what came is not LaMP's file: .*malformed JSON",
    ),
    "an error page": (lambda: httpx.Response(404, text="gone"), "the server answered 404 Not Found"),
    "half a file": (
        lambda: streamed(QUESTIONS[:30], announced=len(QUESTIONS)),
        rf"30 of {len(QUESTIONS)} bytes came",
    ),
    "half a file of unknown length": (
        lambda: httpx.Response(200, content=iter([QUESTIONS[:30]])),
        "what came is not LaMP's file: .*malformed JSON",
    ),
    "other JSON": (lambda: streamed(b'{"questions": []}'), "is not LaMP's file: .*expected a list"),
    "an empty list": (lambda: streamed(b"[]"), "is not LaMP's file: .*is empty"),
    "questions without profiles": (
        lambda: streamed(b'[{"id": "1", "input": "?"}]'),
        "is not LaMP's file: .*field 'profile': is missing",
    ),
}


@pytest.mark.parametrize(("answer", "message"), BAD.values(), ids=list(BAD))
def test_what_is_not_the_file_is_refused_and_nothing_stays(tmp_path: Path, answer: Answer, message: str) -> None:
    with pytest.raises(ServiceError, match=message):
        fetch(MOVIES, "dev", tmp_path, client=server(answer))
    assert list(tmp_path.iterdir()) == []


def test_good_questions_do_not_stay_without_their_golds(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="field 'golds': is missing"):
        fetch(MOVIES, "dev", tmp_path, client=server(good, lambda: streamed(b"{}")))
    assert list(tmp_path.iterdir()) == []


def test_a_failing_connection_is_a_service_error(tmp_path: Path) -> None:
    def refuse() -> httpx.Response:
        raise httpx.ConnectError("no route")

    with pytest.raises(ServiceError, match=r"ConnectError: no route\): try again") as caught:
        fetch(MOVIES, "dev", tmp_path, client=server(refuse))
    assert caught.value.retryable


def test_an_earlier_download_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "dev_questions.json").write_text("old")
    fetch(MOVIES, "dev", tmp_path, client=server(good))
    assert (tmp_path / "dev_questions.json").read_bytes() == QUESTIONS


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write"):
        fetch(MOVIES, "dev", tmp_path / "file", client=server(good))


def test_progress_counts_up_to_the_announced_size(tmp_path: Path) -> None:
    heard: list[tuple[str, int, int | None]] = []
    fetch(MOVIES, "dev", tmp_path, client=server(good), on_progress=lambda *event: heard.append(event))
    assert heard[0] == ("dev_questions.json", 50, len(QUESTIONS))
    assert ("dev_questions.json", len(QUESTIONS), len(QUESTIONS)) in heard
    assert heard[-1] == ("dev_outputs.json", len(GOLDS), len(GOLDS))
