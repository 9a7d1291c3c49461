"""What a test of a program needs: LMs and an embedder that are pure functions, and a store in memory."""

from .hash_embedder import HashEmbedder
from .memory import in_memory_store
from .scripted import Answering, RefusingLM, Reply, Script, ScriptedLM, ScriptedRequest, UnscriptedCallError

__all__ = [
    "Answering",
    "HashEmbedder",
    "RefusingLM",
    "Reply",
    "Script",
    "ScriptedLM",
    "ScriptedRequest",
    "UnscriptedCallError",
    "in_memory_store",
]
