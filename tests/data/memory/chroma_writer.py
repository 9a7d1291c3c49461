"""A process that writes to a Chroma server: `chroma_writer.py URL NAME COUNT`; it prints what it wrote as JSON."""

import json
import sys
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from personaagent.data.interaction import Interaction
from personaagent.data.memory.chroma_index import EpisodeIndex

_USERS = ("00000000000000a0", "00000000000000b0")


class AnyDirection:
    """A vector for each text, near to that of no other; without the imports of `personaagent.testing`."""

    dimensions, fingerprint = 32, "any-direction"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = [np.random.default_rng(zlib.crc32(text.encode())).normal(size=self.dimensions) for text in texts]
        return np.asarray(vectors, dtype=np.float32)


def main(url: str, name: str, count: int) -> None:
    written: list[tuple[str, str, str]] = []
    with EpisodeIndex(url, AnyDirection(), shards=2) as index:
        for number in range(count):
            query = f"film {number} of {name}"
            one = Interaction(interaction_id=f"{name}{number}", query=query, position=number)
            index.add(user_key := _USERS[number % 2], [one])
            written.append((user_key, one.interaction_id, query))
    sys.stdout.write(json.dumps(written))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
