"""What data/memory/embedder.py uses of onnxruntime."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

class SessionOptions:
    intra_op_num_threads: int

class InferenceSession:
    def __init__(
        self, path_or_bytes: str | Path | bytes, sess_options: SessionOptions | None = ..., *, providers: Sequence[str]
    ) -> None: ...
    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, NDArray[np.int64]]
    ) -> list[NDArray[np.float32]]: ...
