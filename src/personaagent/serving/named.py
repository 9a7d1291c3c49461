"""Names that clients send percent-encoded: decoded without loss, or refused, so that no two names become one."""

import re
from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from .problems import Problem, problem_response

NAMED = "X-PersonaAgent-User"
"""The header in which a tenant's or an admin's key says for whom it asks."""

_ENCODED = re.compile(r"(?:[\x20-\x24\x26-\x7e]|%[0-9a-fA-F]{2})*")


def user_named(header: str | None) -> str:
    """Return the user whom a header names; nothing if there is none.

    Raises:
        Problem: It is not percent-encoded UTF-8.
    """
    if not header:
        return ""
    if not _ENCODED.fullmatch(header):
        raise Problem(400, f"{NAMED}: percent-encode the user's id as UTF-8; a % that stands for itself is %25.")
    try:
        return unquote_to_bytes(header).decode()
    except UnicodeDecodeError as error:
        raise Problem(400, f"{NAMED}: percent-encode the user's id as UTF-8.") from error


class Utf8Paths:
    """Refuses paths that are not UTF-8: decoded with losses, two of them could name one interaction.

    Args:
        app: What answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and not _is_utf8(scope.get("raw_path") or b""):
            refusal = problem_response(Request(scope), 400, "The path is not percent-encoded UTF-8.")
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _is_utf8(raw_path: bytes) -> bool:
    try:
        unquote_to_bytes(raw_path).decode()
    except UnicodeDecodeError:
        return False
    return True
