"""A database's failures in our words."""

import sqlite3

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

_NOTHING = "nothing of this call was stored"
_UNKNOWN = "whether this call was stored is not known"
_BUSY = "another process has been writing for too long; try again when it has ended"
_AWAY = "check the URL, and that the server is up"
_RIGHTS = "let this user make tables in the database and write to them"
_REMEDIES = {
    "SQLITE_BUSY": _BUSY,
    "SQLITE_CANTOPEN": "check that the folder exists and may be written to",
    "SQLITE_CORRUPT": "the file is damaged; put back a copy of it",
    "SQLITE_FULL": "free some space and try again",
    "SQLITE_NOTADB": "name a file that PersonaAgent made, or a new one",
    "SQLITE_READONLY": "make the file and its folder writable",
    "SQLITE": "check the disk",
    "22P05": "make the database with the encoding UTF8",
    "25006": "name the server that may be written to, not its copy",
    "3F000": _RIGHTS,
    "42501": _RIGHTS,
    "53100": "free some space on the server and try again",
    "53300": "try again when other programs have let go of the server",
    "55P03": _BUSY,
    "57P": _AWAY,
    "OperationalError": _AWAY,
}
"""By how the code begins: SQLite's own names, PostgreSQL's SQLSTATE, or what was raised without one."""
_REMEDY = "look in the server's log"


def explained(error: SQLAlchemyError | sqlite3.Error) -> str:
    """Return what happened and what to do; never the values of a query, which are a user's own words."""
    if not isinstance(error, DBAPIError | sqlite3.Error):
        return f"{type(error).__name__}; {_NOTHING}"
    said, code = error.orig if isinstance(error, DBAPIError) else error, _code(error)
    remedy = next((remedy for beginning, remedy in _REMEDIES.items() if code.startswith(beginning)), _REMEDY)
    # A server that is gone may have done what it was told before it went.
    outcome = _UNKNOWN if isinstance(error, DBAPIError) and error.connection_invalidated else _NOTHING
    return f"{_said(said)}; {outcome}: {remedy}"


def refers_to_nothing(error: SQLAlchemyError | sqlite3.Error) -> bool:
    """Return whether a row could not be stored since what it is about is gone: whoever has rows has been erased."""
    return _code(error) in {"SQLITE_CONSTRAINT_FOREIGNKEY", "23503"}


def is_full(error: SQLAlchemyError | sqlite3.Error) -> bool:
    """Return whether the database has no room for what is to be written."""
    return _code(error) in {"SQLITE_FULL", "53100"}


def _code(error: SQLAlchemyError | sqlite3.Error) -> str:
    said = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(said, "sqlite_errorname", None) or getattr(said, "sqlstate", None)
    return str(code or type(error).__name__)


def _said(error: object) -> str:
    """Return the first sentence of a driver's error: PostgreSQL's others quote the row that failed."""
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    return primary or " ".join(str(error).split())
