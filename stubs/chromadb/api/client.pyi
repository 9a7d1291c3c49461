from collections.abc import Mapping, Sequence

from .models.Collection import Collection

class Client:
    def list_collections(self) -> Sequence[Collection]: ...
    def get_or_create_collection(
        self,
        name: str,
        *,
        configuration: Mapping[str, Mapping[str, str | int]],
        metadata: Mapping[str, str | int],
        embedding_function: None,
    ) -> Collection: ...
    def delete_collection(self, name: str) -> None: ...
    def close(self) -> None: ...
