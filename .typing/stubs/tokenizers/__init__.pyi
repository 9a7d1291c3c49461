"""What data/memory/embedder.py uses of tokenizers."""

from collections.abc import Sequence

class Encoding:
    ids: list[int]
    attention_mask: list[int]

class Tokenizer:
    @staticmethod
    def from_file(path: str) -> Tokenizer: ...
    def enable_truncation(self, max_length: int) -> None: ...
    def enable_padding(self) -> None: ...
    def encode_batch(self, input: Sequence[str]) -> list[Encoding]: ...
