"""What a test of a program needs: LMs and embedders that are pure functions, and a store in memory."""

from .scripted import Answering, RefusingLM, Reply, Script, ScriptedLM, ScriptedRequest, UnscriptedCallError

__all__ = ["Answering", "RefusingLM", "Reply", "Script", "ScriptedLM", "ScriptedRequest", "UnscriptedCallError"]
