"""Which rows are nearest in meaning: every one is compared, so that the same rows always give the same answer.

Chroma's own search is approximate, and what it finds depends on the order in which rows were written. An index that was
built again must find the same as before, or a run that is taken up again would ask other questions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import StorageError
from ..interaction import Interaction
from .rows import Metadata, Row, interaction_id_of, is_visible

if TYPE_CHECKING:
    from chromadb.api.models.Collection import GetResult

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
    vectors: "NDArray[np.float32]"
    """Shape (number of rows, dimensions)."""

    @classmethod
    def read(cls, found: "GetResult") -> Self:
        """Return the rows that Chroma found."""
        return cls(found["ids"], found["metadatas"], np.asarray(found["embeddings"], dtype=np.float32))

    def with_new(self, rows: Sequence[Row], vectors: Sequence[Sequence[float]]) -> "UserRows | None":
        """Return these and some more; None if one of these is written over."""
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


def nearest(rows: UserRows, vector: Sequence[float], k: int, before: Sequence[Interaction] = ()) -> list[Match]:
    """Return the `k` rows whose vectors have the greatest cosine with `vector`; of equal ones the newer first.

    Args:
        rows: Among which.
        vector: Compared with theirs.
        k: How many.
        before: Masks, see `is_visible`.

    Raises:
        StorageError: The vectors are not of the same length: the index is of another embedder.
    """
    shown = [place for place, metadata in enumerate(rows.metadatas) if is_visible(metadata, before)]
    if not shown:
        return []
    vectors, wanted = rows.vectors[shown].astype(np.float64), np.asarray(vector, dtype=np.float64)
    if vectors.shape[1:] != wanted.shape:
        raise StorageError(
            f"the index has vectors of dimension {vectors.shape[1]}, the embedder makes {len(vector)}: "
            "run `personaagent memory rebuild`"
        )
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(wanted)
    products = vectors @ wanted
    cosines = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0).clip(-1, 1).round(_DECIMALS)

    def rank(place: int) -> tuple[float, object, object]:
        metadata = rows.metadatas[shown[place]]
        return cosines[place], metadata["at"], metadata["position"]

    best = sorted(range(len(shown)), key=rank, reverse=True)[:k]
    return [Match(interaction_id_of(rows.ids[shown[place]]), float(cosines[place])) for place in best]
