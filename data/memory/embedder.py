"""Texts as vectors: the role of an embedder, and the small one that runs in this process."""

import hashlib
import threading
from collections.abc import Callable, Generator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ..errors import ModelFileError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

MINILM_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
MINILM_TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"

_MAX_TOKENS = 256
_MAX_CHARACTERS = 10_000
_BATCH = 16
_MOST_PADDING = 8
"""Tokens by which the texts of a batch may differ in length: each is computed as if it had as many as the longest."""
_RECENT = 1024
_MOSTLY = 0.5
_NO_WORD = "[UNK]"
_GOES_ON = "##"


class Embedder(Protocol):
    """Turns texts into vectors whose dot product is their similarity in meaning."""

    @property
    def fingerprint(self) -> str:
        """Names the vectors: two embedders of the same fingerprint give a text the same vector."""
        ...

    @property
    def dimensions(self) -> int:
        """Length of every vector."""
        ...

    def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Return one vector per text, in order, of length 1: shape (number of texts, dimensions)."""
        ...


@runtime_checkable
class KnowsItsWords(Protocol):
    """An embedder that can say how much of a text it has no words for; any other counts as knowing all words."""

    def unknown_share(self, text: str) -> float:
        """Return the part of a text, 0 to 1, that its vector says nothing of."""
        ...


def is_unknown(embedder: Embedder, text: str) -> bool:
    """Return whether the embedder has no words for half of a text or more."""
    return isinstance(embedder, KnowsItsWords) and embedder.unknown_share(text) >= _MOSTLY


class MiniLmEmbedder:
    """The embedded embedder: all-MiniLM-L6-v2 as int8 ONNX, English, 384 dimensions, in this process.

    A text counts up to its first 256 tokens (and 10,000 characters). Its vector is the mean over its tokens, brought to
    length 1. Vectors of the last 1,024 texts that were embedded alone (queries) are kept. The files are read, and
    compared with their hashes, when the first vector or the fingerprint is asked for. Threads may share it.

    Args:
        model: The file with the hash `MINILM_SHA256`.
        tokenizer: The file with the hash `MINILM_TOKENIZER_SHA256`.
        threads: Threads of one forward pass.
        bring: Is called before the files are first read; it may put them there.

    Raises:
        ModelFileError: At first use: a file is missing, or is not what its hash says.
    """

    dimensions = 384

    def __init__(
        self, model: Path, tokenizer: Path, *, threads: int = 1, bring: Callable[[], object] = lambda: None
    ) -> None:
        self._model_path, self._tokenizer_path, self._threads, self._bring = model, tokenizer, threads, bring
        self._embed_alone = lru_cache(_RECENT)(self._anew)
        self._computing = threading.Lock()

    @property
    def fingerprint(self) -> str:
        """The two files and how their output is pooled."""
        return self._fingerprint

    def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Return one vector per text, in order: shape (number of texts, 384), float32, each of length 1."""
        return self._embed_alone(texts[0]).copy() if len(texts) == 1 else self.embed_anew(texts)

    def unknown_share(self, text: str) -> float:
        """Return the part of a text, by characters, that is in no word of the tokenizer.

        Those are tokens that are unknown, and letters outside ASCII that stand alone: Thai is unknown, and Cyrillic,
        which the model was not trained on, is spelled letter by letter.
        """
        encoded = self._tokenizer.encode(text[:_MAX_CHARACTERS], add_special_tokens=False)
        lengths = [end - start for start, end in encoded.offsets]
        unknown = sum(length for token, length in zip(encoded.tokens, lengths, strict=True) if _is_no_word(token))
        return unknown / (sum(lengths) or 1)

    def embed_anew(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Return what `embed` does; no vector is looked up, and none is kept."""
        import numpy as np

        encodings = self._tokenizer.encode_batch([text[:_MAX_CHARACTERS] for text in texts])
        tokens = [encoding.ids for encoding in encodings]
        vectors = np.empty((len(tokens), self.dimensions), dtype=np.float32)
        for places in _batches([len(ids) for ids in tokens]):
            vectors[places] = self._forward([tokens[place] for place in places])
        return vectors

    def _anew(self, text: str) -> "NDArray[np.float32]":
        return self.embed_anew([text])

    def _forward(self, texts: Sequence[Sequence[int]]) -> "NDArray[np.float32]":
        import numpy as np

        token_ids = np.zeros((len(texts), max(map(len, texts))), dtype=np.int64)
        mask = np.zeros_like(token_ids)
        for place, tokens in enumerate(texts):
            token_ids[place, : len(tokens)], mask[place, : len(tokens)] = tokens, 1
        inputs = {"input_ids": token_ids, "attention_mask": mask, "token_type_ids": np.zeros_like(token_ids)}
        with self._computing:  # Side by side, threads would only wait for each other in the middle of their work.
            hidden = self._session.run(["last_hidden_state"], inputs)[0]
        mean = (hidden * mask[:, :, np.newaxis]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        return (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float32)

    @cached_property
    def _fingerprint(self) -> str:
        self._bring()
        hashes = (
            _checked_sha256(self._model_path, MINILM_SHA256),
            _checked_sha256(self._tokenizer_path, MINILM_TOKENIZER_SHA256),
        )
        return hashlib.sha256("\n".join([*hashes, f"mean-{_MAX_TOKENS}"]).encode()).hexdigest()[:16]

    @cached_property
    def _session(self) -> "InferenceSession":
        from onnxruntime import InferenceSession, SessionOptions

        _ = self._fingerprint  # The file is the one that its hash names.
        options = SessionOptions()
        options.intra_op_num_threads = self._threads
        return InferenceSession(self._model_path, options, providers=["CPUExecutionProvider"])

    @cached_property
    def _tokenizer(self) -> "Tokenizer":
        from tokenizers import Tokenizer

        _ = self._fingerprint
        tokenizer = Tokenizer.from_file(str(self._tokenizer_path))
        # The file has a truncation and a fixed padding of 128 tokens built in.
        tokenizer.enable_truncation(_MAX_TOKENS)
        tokenizer.no_padding()
        return tokenizer


def _is_no_word(token: str) -> bool:
    letters = token.removeprefix(_GOES_ON)
    return token == _NO_WORD or (len(letters) == 1 and not letters.isascii())


def _batches(lengths: Sequence[int]) -> Generator[list[int]]:
    """Yield the places of texts that are computed together: alike in length, and not too many."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if len(batch) == _BATCH or (batch and lengths[place] > lengths[batch[0]] + _MOST_PADDING):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _checked_sha256(path: Path, expected: str) -> str:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelFileError(
            f"{path}: the embedder's file cannot be read ({error.strerror}): run `personaagent models fetch`"
        ) from error
    if found != expected:
        raise ModelFileError(
            f"{path}: sha256 is {found}, expected {expected}: delete the file and run `personaagent models fetch`"
        )
    return found
