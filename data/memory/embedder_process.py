"""The embedded embedder in a process of its own, where no thread that holds Python's lock stops it."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from selectors import EVENT_READ, DefaultSelector
from socket import MSG_WAITALL, socket, socketpair
from typing import TYPE_CHECKING, Self

from ..errors import StorageError
from .embedder import MAX_CHARACTERS, MiniLmEmbedder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CONNECTIONS = 16
"""As many threads are waited for at once; each sends at most as many texts at a time."""
_LENGTH_BYTES, _FLOAT_BYTES = 4, 4


class EmbedderProcess(MiniLmEmbedder):
    """The embedded embedder, whose vectors another process computes: for many threads that do much else.

    In a process with much else to do, a thread that has computed a vector waits for Python's lock before the next one
    can begin. Here the texts that all threads wait for are computed together, one batch after another. A process that
    ends is started again; it ends with this one, however this one does.

    Args:
        model: As in `MiniLmEmbedder`.
        tokenizer: As in `MiniLmEmbedder`.

    Raises:
        ModelFileError: On entering it, or at first use: a file is missing, or is not what its hash says.
    """

    def __init__(self, model: Path, tokenizer: Path) -> None:
        super().__init__(model, tokenizer)
        self._files = (model, tokenizer)
        self._starting = threading.Lock()
        self._running: _Running | None = None

    def embed_anew(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Return what `embed` does; no vector is looked up, and none is kept.

        Raises:
            StorageError: The process ended twice, without an answer.
        """
        import numpy as np

        parts = [self._computed(texts[start : start + _CONNECTIONS]) for start in range(0, len(texts), _CONNECTIONS)]
        return np.concatenate(parts) if parts else np.zeros((0, self.dimensions), dtype=np.float32)

    def close(self) -> None:
        """End the process; whoever still asks starts another."""
        if self._running:
            self._end(self._running)

    def __enter__(self) -> Self:
        """Start the process."""
        self._started()
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()

    def _alone(self, text: str) -> "NDArray[np.float32]":
        return self._computed([text])

    def _computed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        import numpy as np

        asked = json.dumps([text[:MAX_CHARACTERS] for text in texts], ensure_ascii=False).encode(errors="replace")
        for _ in range(2):
            running = self._started()
            try:
                vectors = running.answer(asked, len(texts) * self.dimensions * _FLOAT_BYTES)
            except (EOFError, OSError):
                self._end(running)
            except BaseException:
                self._end(running)  # What it still sends would be taken for the answer to the next question.
                raise
            else:
                return np.frombuffer(vectors, dtype=np.float32).reshape(len(texts), self.dimensions)
        raise StorageError("the embedder's process ended twice in the middle of its work: see the log for what it said")

    def _started(self) -> "_Running":
        with self._starting:
            if self._running is None:
                _ = self.fingerprint  # Raises here, not there, if a file is not as it must be.
                self._running = _Running(self._files)
            return self._running

    def _end(self, running: "_Running") -> None:
        with self._starting:
            if self._running is not running:
                return  # Another thread ends it.
            self._running = None
        running.end()


class _Running:
    """A process, and connections to it, each for one thread at a time."""

    def __init__(self, files: tuple[Path, Path]) -> None:
        self._idle: SimpleQueue[socket] = SimpleQueue()
        pairs = [socketpair() for _ in range(_CONNECTIONS)]
        theirs = [their.fileno() for _, their in pairs]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, *map(str, (*files, *theirs))],
            stdin=subprocess.DEVNULL,
            pass_fds=theirs,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},  # Its threads would wait for work by turning.
        )
        for our, their in pairs:
            their.close()
            self._idle.put(our)

    def answer(self, asked: bytes, size: int) -> bytes:
        """Return the answer, which has so many bytes; raises `EOFError` or `OSError` once the process has ended."""
        connection = self._idle.get()
        try:
            connection.sendall(len(asked).to_bytes(_LENGTH_BYTES) + asked)
            answer = connection.recv(size, MSG_WAITALL)
        finally:
            self._idle.put(connection)
        if len(answer) < size:
            raise EOFError
        return answer

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        given_back = [self._idle.get() for _ in range(_CONNECTIONS)]  # Who has one gets no answer any more.
        for connection in given_back:
            connection.close()
            self._idle.put(connection)  # Somebody may be waiting for one.


def answer_all(embedder: MiniLmEmbedder, connections: Sequence[socket]) -> None:
    """Answer texts with their vectors, those together that wait together, until every connection is closed.

    Args:
        embedder: Computes them.
        connections: Each takes a JSON list of texts after its length, and gets the bytes of their vectors in order.
    """
    with DefaultSelector() as open_ones:
        for connection in connections:
            open_ones.register(connection, EVENT_READ, connection)
        while open_ones.get_map():
            asked: dict[socket, list[str]] = {}
            for key, _ in open_ones.select():
                if texts := _received(key.data):
                    asked[key.data] = texts
                else:
                    open_ones.unregister(key.data)
            vectors = embedder.embed_anew([text for texts in asked.values() for text in texts])
            for connection, texts in asked.items():
                with suppress(OSError):  # Nobody is there any more; the next look finds it closed.
                    connection.sendall(vectors[: len(texts)].tobytes())
                vectors = vectors[len(texts) :]


def _received(connection: socket) -> list[str]:
    """Return the texts that were sent; none if the connection is closed."""
    with suppress(OSError):
        length = int.from_bytes(connection.recv(_LENGTH_BYTES, MSG_WAITALL))
        if length:
            return json.loads(connection.recv(length, MSG_WAITALL))
    return []


def main() -> None:
    """Answer on the connections that the process which started this one has left open."""
    for stop in (signal.SIGINT, signal.SIGTERM):  # They go to a whole group; what is under way there is still asked.
        signal.signal(stop, signal.SIG_IGN)
    model, tokenizer, *theirs = sys.argv[1:]
    embedder = MiniLmEmbedder(Path(model), Path(tokenizer))
    embedder.embed_anew(["The files are read before the first question comes."])
    answer_all(embedder, [socket(fileno=int(number)) for number in theirs])


if __name__ == "__main__":
    main()
