"""Which rows are nearest in meaning: every one is compared, so that the same rows always give the same answer.

Chroma's own search is approximate, and what it finds depends on the order in which rows were written. An index that was
built again must find the same as before, or a run that is taken up again would ask other questions.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import StorageError
from .rows import interaction_id_of

if TYPE_CHECKING:
    from chromadb.api.models.Collection import GetResult

_DECIMALS = 9
"""Similarities that agree so far are equal."""


class Match(NamedTuple):
    """One interaction found, and its cosine with the text that was looked for."""

    interaction_id: str
    similarity: float


def nearest(rows: "GetResult", vector: Sequence[float], k: int) -> list[Match]:
    """Return the `k` rows whose vectors have the greatest cosine with `vector`; of equal ones the newer first.

    Raises:
        StorageError: The vectors are not of the same length: the index is of another embedder.
    """
    if not rows["ids"]:
        return []
    vectors, wanted = np.asarray(rows["embeddings"], dtype=np.float64), np.asarray(vector, dtype=np.float64)
    if vectors.shape[1:] != wanted.shape:
        raise StorageError(
            f"the index has vectors of dimension {vectors.shape[1]}, the embedder makes {len(vector)}: "
            "run `personaagent memory rebuild`"
        )
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(wanted)
    products = vectors @ wanted
    cosines = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0).clip(-1, 1).round(_DECIMALS)
    age = [(metadata["at"], metadata["position"]) for metadata in rows["metadatas"]]
    best = sorted(range(len(age)), key=lambda row: (cosines[row], age[row]), reverse=True)[:k]
    return [Match(interaction_id_of(rows["ids"][row]), float(cosines[row])) for row in best]
