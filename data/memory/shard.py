"""The rows of one collection of Chroma: read, written and deleted in batches."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from .rows import Row

if TYPE_CHECKING:
    from chromadb.api.models.Collection import GetResult

    from .chroma_server import Collection

_BATCH = 1_000

_Item = TypeVar("_Item")


def batches(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """Yield the items, as many at once as Chroma takes."""
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]


def rows_in(shard: "Collection", user_key: str) -> dict[str, dict[str, object]]:
    """Return the metadata of a user's rows, by the rows' ids."""
    found = shard.get(where={"user": user_key}, include=["metadatas"])
    return {row: dict(metadata) for row, metadata in zip(found["ids"], found["metadatas"], strict=True)}


def count_of(shard: "Collection", user_key: str) -> int:
    """Return how many rows a user has."""
    return len(shard.get(where={"user": user_key}, include=[])["ids"])


def make_equal(
    shard: "Collection",
    found: Mapping[str, dict[str, object]],
    rows: Sequence[Row],
    vectors_of: Callable[[Sequence[Row]], list[list[float]]],
) -> None:
    """Write what is missing of a user's rows or differs, and drop what is extra.

    Args:
        shard: Where they are.
        found: What is there of the user, see `rows_in`.
        rows: What shall be there.
        vectors_of: Makes the vectors of rows.
    """
    wanted = {row.row_id for row in rows}
    delete(shard, [extra for extra in found if extra not in wanted])
    for batch in batches([row for row in rows if found.get(row.row_id) != row.metadata]):
        write(shard, batch, vectors_of(batch))


def write(shard: "Collection", rows: Sequence[Row], vectors: list[list[float]]) -> None:
    """Write one batch of rows, over those of the same ids."""
    shard.upsert(ids=[row.row_id for row in rows], embeddings=vectors, metadatas=[row.metadata for row in rows])


def write_again(shard: "Collection", rows: "GetResult") -> None:
    """Write rows as they were read, vectors included."""
    for batch in batches(range(len(rows["ids"]))):
        these = slice(batch[0], batch[-1] + 1)
        ids, vectors, metadatas = rows["ids"][these], rows["embeddings"][these], rows["metadatas"][these]
        shard.upsert(ids=ids, embeddings=vectors, metadatas=metadatas)


def delete(shard: "Collection", row_ids: Sequence[str]) -> None:
    """Delete rows by their ids."""
    for batch in batches(row_ids):
        shard.delete(ids=batch)
