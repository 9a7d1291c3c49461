"""The embedder in a process of its own: the same vectors, whatever happens to either process."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from socket import MSG_WAITALL, socket, socketpair

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from platformdirs import user_cache_path

from personaagent.data.errors import ModelFileError, StorageError
from personaagent.data.memory.embedder import MiniLmEmbedder
from personaagent.data.memory.embedder_process import EmbedderProcess, answer_all

MODELS = user_cache_path("personaagent") / "models"
FILES = MODELS / "all-minilm-l6-v2-int8.onnx", MODELS / "all-minilm-l6-v2-tokenizer.json"
live = pytest.mark.live


@pytest.fixture(scope="module")
def here() -> MiniLmEmbedder:
    for file in FILES:
        if not file.exists():
            pytest.skip(f"{file} is missing: run `personaagent models fetch`")
    return MiniLmEmbedder(*FILES)


@pytest.fixture
def apart(here: MiniLmEmbedder) -> Iterator[EmbedderProcess]:
    with EmbedderProcess(*FILES) as embedder:
        yield embedder


class Lengths(MiniLmEmbedder):
    """Knows of each text its length alone, and what it was asked for at once."""

    def __init__(self) -> None:
        super().__init__(Path("nowhere"), Path("nowhere"))
        self.asked: list[list[str]] = []

    def embed_anew(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked.append(list(texts))
        return np.array([[len(text)] * self.dimensions for text in texts], dtype=np.float32)


def its_process() -> psutil.Process:
    [process] = [child for child in psutil.Process().children() if "embedder_process" in " ".join(child.cmdline())]
    return process


def send(connection: socket, texts: list[str]) -> None:
    asked = json.dumps(texts).encode()
    connection.sendall(len(asked).to_bytes(4) + asked)


def test_what_waits_together_is_computed_together_and_each_gets_its_own() -> None:
    embedder, pairs = Lengths(), [socketpair() for _ in range(4)]
    ours, theirs = zip(*pairs, strict=True)
    wanted = [["a", "bb"], ["ccc"], ["dddd"]]
    for connection, texts in zip(ours[:3], wanted, strict=True):
        send(connection, texts)
    with ThreadPoolExecutor(1) as thread:
        answering = thread.submit(answer_all, embedder, theirs)
        for connection, texts in zip(ours[:3], wanted, strict=True):
            vectors = np.frombuffer(connection.recv(len(texts) * 384 * 4, MSG_WAITALL), dtype=np.float32)
            assert vectors.reshape(len(texts), 384)[:, 0].tolist() == [len(text) for text in texts]
        for connection in ours:
            connection.close()
        answering.result(timeout=10)
    for connection in theirs:
        connection.close()
    assert [sorted(texts) for texts in embedder.asked if texts] == [["a", "bb", "ccc", "dddd"]]


def test_who_went_away_before_the_answer_disturbs_nobody() -> None:
    embedder, (gone, its_end), (there, other_end) = Lengths(), socketpair(), socketpair()
    send(gone, ["nobody reads this"])
    gone.close()
    send(there, ["four"])
    with ThreadPoolExecutor(1) as thread:
        answering = thread.submit(answer_all, embedder, [its_end, other_end])
        assert np.frombuffer(there.recv(384 * 4, MSG_WAITALL), dtype=np.float32)[0] == 4
        there.close()
        answering.result(timeout=10)
    its_end.close()
    other_end.close()


def test_a_missing_file_is_named_before_a_process_is_started(tmp_path: Path) -> None:
    with (
        pytest.raises(ModelFileError, match=r"model\.onnx.*cannot be read.*models fetch"),
        EmbedderProcess(tmp_path / "model.onnx", tmp_path / "tokenizer.json"),
    ):
        pass


@live
def test_not_a_bit_of_a_vector_differs_from_those_of_this_process(here: MiniLmEmbedder, apart: EmbedderProcess) -> None:
    texts = [f"{'long ' * (place % 7)}film number {place}, caf\u00e9 \U0001f40d" for place in range(40)]
    with ThreadPoolExecutor(len(texts)) as threads:
        in_threads = list(threads.map(lambda text: apart.embed([text])[0], texts))
    np.testing.assert_array_equal(here.embed(texts), in_threads)
    np.testing.assert_array_equal(here.embed(texts), apart.embed(texts))
    assert (apart.fingerprint, apart.embed([]).shape) == (here.fingerprint, (0, 384))


@live
def test_texts_that_no_file_could_hold_end_nothing(apart: EmbedderProcess) -> None:
    process = its_process()
    vectors = apart.embed(["\ud800 half a character", "\x00", "", "word " * 100_000])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert its_process() == process


@live
def test_a_process_that_was_killed_is_started_again(here: MiniLmEmbedder, apart: EmbedderProcess) -> None:
    texts = [f"film number {place}" for place in range(60)]
    with ThreadPoolExecutor(8) as threads:
        asking = [threads.submit(apart.embed, [text]) for text in texts]
        asking[0].result()
        its_process().kill()
        found = [each.result()[0] for each in asking]
    np.testing.assert_array_equal(here.embed(texts), found)


@live
def test_one_that_ends_again_and_again_is_an_error_that_answers_can_do_without(
    apart: EmbedderProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    its_process().kill()
    with pytest.raises(StorageError, match="ended twice"):
        apart.embed(["a film"])


@live
def test_signals_to_a_whole_group_leave_it_to_its_parent_to_end_it(apart: EmbedderProcess) -> None:
    apart.embed(["it is up"])
    process = its_process()
    for stop in (signal.SIGINT, signal.SIGTERM):
        process.send_signal(stop)
    apart.embed(["it still is"])
    assert its_process() == process
    apart.close()
    assert not process.is_running()


@live
def test_it_does_not_outlive_a_parent_that_was_killed(here: MiniLmEmbedder) -> None:
    program = (
        "import sys, time; from pathlib import Path; from personaagent.data.memory.embedder_process import *\n"
        "with EmbedderProcess(*map(Path, sys.argv[1:])) as embedder:\n"
        "    embedder.embed(['it is up']); print(embedder._running._process.pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, *map(str, FILES)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    deadline = time.monotonic() + 10
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
