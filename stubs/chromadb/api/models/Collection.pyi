from collections.abc import Mapping, Sequence
from typing import TypedDict

class GetResult(TypedDict):
    ids: list[str]
    metadatas: list[Mapping[str, str | int]]
    embeddings: Sequence[Sequence[float]]

class Collection:
    name: str
    metadata: Mapping[str, str | int | float | bool] | None
    configuration_json: Mapping[str, Mapping[str, str | int]]
    def upsert(
        self,
        *,
        ids: Sequence[str],
        embeddings: Sequence[Sequence[float]],
        metadatas: Sequence[Mapping[str, str | int]],
    ) -> None: ...
    def get(self, *, where: Mapping[str, object], include: Sequence[str]) -> GetResult: ...
    def delete(self, *, ids: Sequence[str]) -> None: ...
