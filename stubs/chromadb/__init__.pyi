"""What data/memory/chroma_index.py uses of chromadb 1.5."""

from pathlib import Path

from .api.client import Client
from .config import Settings

def EphemeralClient(settings: Settings | None = ...) -> Client: ...
def PersistentClient(path: str | Path = ..., settings: Settings | None = ...) -> Client: ...
