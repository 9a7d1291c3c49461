"""Which rows are nearest in meaning: every one is compared, so that the same rows always give the same answer.

Chroma's own search is approximate, and what it finds depends on the order in which rows were written. An index that was
built again must find the same as before, or a run that is taken up again would ask other questions.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from ..errors import StorageError
from ..interaction import Interaction
from .rows import Metadata, Row, interaction_id_of, shows_row

if TYPE_CHECKING:
    from chromadb.api.models.Collection import GetResult

_MOST_ROWS = 20_000
"""Rows in a cache, some 3 kB each."""
_DECIMALS = 9
"""Similarities that agree so far are equal."""


class Match(NamedTuple):
    """One interaction found, and its cosine with the text that was looked for."""

    interaction_id: str
    similarity: float


@dataclass(frozen=True)
class UserRows:
    """All rows of one user, ready to be compared."""

    ids: Sequence[str]
    metadatas: Sequence[Metadata]
    vectors: NDArray[np.float32]
    """Shape (number of rows, dimensions)."""

    @classmethod
    def read(cls, found: "GetResult") -> Self:
        """Return the rows that Chroma found."""
        return cls(found["ids"], found["metadatas"], np.asarray(found["embeddings"], dtype=np.float32))

    def with_new(self, rows: Sequence[Row], vectors: Sequence[Sequence[float]]) -> "UserRows | None":
        """Return these rows and new ones; None if a new one overwrites one of these."""
        if not {row.row_id for row in rows}.isdisjoint(self.ids):
            return None
        new = np.asarray(vectors, dtype=np.float32)
        return UserRows(
            [*self.ids, *(row.row_id for row in rows)],
            [*self.metadatas, *(row.metadata for row in rows)],
            np.concatenate([self.vectors, new]) if self.ids else new,
        )

    def __len__(self) -> int:
        return len(self.ids)


NO_ROWS = UserRows((), (), np.empty((0, 0), dtype=np.float32))


class RowCache:
    """The rows of the users who were read last, by user key. Threads may share it."""

    def __init__(self) -> None:
        self._rows: LRUCache[str, UserRows] = LRUCache(_MOST_ROWS, getsizeof=len)
        self._lock = threading.Lock()

    def get(self, user_key: str) -> UserRows | None:
        """Return a user's rows, if they are cached."""
        with self._lock:
            return self._rows.get(user_key)

    def put(self, user_key: str, rows: UserRows) -> None:
        """Cache a user's rows, if they are not too many; those of others may have to go."""
        with self._lock:
            self._rows.pop(user_key, None)
            if len(rows) <= _MOST_ROWS:
                self._rows[user_key] = rows

    def pop(self, user_key: str) -> UserRows | None:
        """Remove a user's rows, and return them."""
        with self._lock:
            return self._rows.pop(user_key, None)

    def clear(self) -> None:
        """Remove all rows."""
        with self._lock:
            self._rows.clear()


class Comparison:
    """The rows of a user that may be seen (`rows.shows`), compared with what is looked for.

    Args:
        rows: The user's.
        asks: The hash of what is looked for; see `rows.hash_of`.
        vector: Its vector.
        masks: Say which rows may be seen.
        is_unknown: Whether the embedder has no words for it.

    Raises:
        StorageError: The vectors are not of the same length: the index is of another embedder.
    """

    def __init__(
        self,
        rows: UserRows,
        asks: str,
        vector: Sequence[float],
        masks: Sequence[Interaction] = (),
        *,
        is_unknown: bool = False,
    ) -> None:
        shown = [place for place, metadata in enumerate(rows.metadatas) if shows_row(metadata, masks)]
        self._asks, self._is_unknown = asks, is_unknown
        self._ids = [rows.ids[place] for place in shown]
        self._metadatas = [rows.metadatas[place] for place in shown]
        self._vectors = rows.vectors[shown]
        self._cosines = _cosines(self._vectors, vector) if shown else np.zeros(0)

    def best(self, k: int) -> list[Match]:
        """Return the `k` rows with the greatest cosine, those that ask the same first; of equal ones the newer."""
        best = sorted(range(len(self._ids)), key=self._rank, reverse=True)[:k]
        return [Match(interaction_id_of(self._ids[place]), float(self._cosines[place])) for place in best]

    @property
    def is_blind(self) -> bool:
        """Whether these vectors do not tell these texts apart.

        So it is if the embedder has no words for what is looked for or for most of the rows, if a row that asks
        something else has the vector that is looked for, or if most rows share theirs with rows that ask other things.
        """
        unknown = sum(metadata["unknown"] == 1 for metadata in self._metadatas)
        half = len(self._ids) / 2
        same = np.flatnonzero(self._cosines == 1)
        is_mistaken = any(self._metadatas[place]["asks"] != self._asks for place in same)
        return self._is_unknown or unknown > half or is_mistaken or len(self._twins()) > half

    def _twins(self) -> set[int]:
        """Return the places of rows that ask different things and have the same vector."""
        order = np.argsort(self._cosines, kind="stable")
        ties = np.flatnonzero(np.diff(self._cosines[order]) == 0)
        pairs = ((int(order[place]), int(order[place + 1])) for place in ties)
        return {place for pair in pairs if self._are_twins(*pair) for place in pair}

    def _are_twins(self, first: int, second: int) -> bool:
        if self._metadatas[first]["asks"] == self._metadatas[second]["asks"]:
            return False
        return np.array_equal(self._vectors[first], self._vectors[second])

    def _rank(self, place: int) -> tuple[bool, float, object, object]:
        metadata = self._metadatas[place]
        return metadata["asks"] == self._asks, self._cosines[place], metadata["at"], metadata["position"]


def _cosines(rows: NDArray[np.float32], vector: Sequence[float]) -> NDArray[np.float64]:
    vectors, wanted = rows.astype(np.float64), np.asarray(vector, dtype=np.float64)
    if vectors.shape[1:] != wanted.shape:
        raise StorageError(
            f"the index has vectors of dimension {vectors.shape[1]}, the embedder makes {len(vector)}: "
            "run `personaagent memory rebuild`"
        )
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(wanted)
    products = vectors @ wanted
    return np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0).clip(-1, 1).round(_DECIMALS)
