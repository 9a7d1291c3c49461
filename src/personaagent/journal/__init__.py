"""Runs: pieces of paid work whose every call is recorded, so that none is paid twice."""

from .run import AGENT, LOSS, REVISION, OpenRun, join_run, new_run, note_names, open_run, role_lms

__all__ = ["AGENT", "LOSS", "REVISION", "OpenRun", "join_run", "new_run", "note_names", "open_run", "role_lms"]
