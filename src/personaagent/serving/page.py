"""The page at `/`: plain files, served as they are, that may load and run nothing from elsewhere."""

import hashlib
from collections.abc import Awaitable, Callable
from importlib import resources

from fastapi import FastAPI, Request, Response

_MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_FILES = {"/": "index.html"} | {
    f"/page/{name}": name
    for name in (
        "account.js",
        "alignments.js",
        "api.js",
        "app.js",
        "ask.js",
        "dom.js",
        "memory.js",
        "persona.js",
        "style.css",
    )
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""The last of these makes browsers refuse `innerHTML`: what users and LMs write can only be put in as text."""


def add_page(app: FastAPI) -> None:
    """Serve the page at `/` and its files under `/page/`; none of them is part of the API."""
    folder = resources.files(__package__ or "").joinpath("page")
    for path, name in _FILES.items():
        app.add_route(path, _serving(name, folder.joinpath(name).read_bytes()), include_in_schema=False)


def _serving(name: str, content: bytes) -> Callable[[Request], Awaitable[Response]]:
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    media_type = _MEDIA_TYPES[name[name.rindex(".") :]]
    headers = {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": _POLICY,
        "ETag": tag,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }

    async def serve(request: Request) -> Response:
        if request.headers.get("If-None-Match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=media_type, headers=headers)

    return serve
