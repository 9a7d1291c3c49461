"""The application: routes, what is opened while it runs, and the page."""

import hashlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from importlib import resources
from importlib.metadata import version

from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi_swagger import patch_fastapi

from . import alignments, chat, interactions, me, memory, personas
from .configuration import MAX_BODY_BYTES
from .deployment import Deployment
from .named import Utf8Paths
from .observing import MULTIPROCESS, Metrics, Observed, add_observation
from .problems import OpenAIError, ProblemDetails, add_problems

_ABOUT = """Answers as one particular user would want, and learns what that is.

A key stands for a user. `/v1/chat/completions` is OpenAI's, so its clients work unchanged; everything else is about
what is remembered of the user, the persona that comes of it, and how it is aligned. Errors are
`application/problem+json`. A POST with an `Idempotency-Key` is done once, however often it is sent within a day."""


def create_app(deploy: Callable[[], AbstractContextManager[Deployment]], origins: Sequence[str] = ()) -> FastAPI:
    """Return the application.

    Args:
        deploy: Opens what the requests share, when the server starts, and closes it when it ends.
        origins: Web pages of these origins may call the API from a browser: `https://app.example.com`.

    Example:
        >>> app = create_app(lambda: deployed(home, Serving()))
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        with deploy() as deployment:
            app.state.deployment = deployment
            try:
                yield
            finally:
                await deployment.drained()

    app = FastAPI(
        title="PersonaAgent",
        description=_ABOUT,
        version=version("personaagent"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        separate_input_output_schemas=False,
    )
    metrics = Metrics()
    app.add_middleware(Observed, metrics=metrics, most_bytes=MAX_BODY_BYTES)
    app.add_middleware(Utf8Paths)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["X-Request-Id", "Retry-After", "ETag"],
        )
    add_problems(app)
    for room in (chat, interactions, memory, personas, alignments, me):
        app.include_router(room.router)
    add_observation(app, metrics, shared=MULTIPROCESS in os.environ)
    add_page(app)
    patch_fastapi(app, redirect_from_root_to_docs=False, swagger_ui_parameters={"persistAuthorization": False})
    _describe_problems(app)
    return app


def _describe_problems(app: FastAPI) -> None:
    """Put the form of a problem into the OpenAPI document, where the responses refer to it."""
    usual = app.openapi

    def openapi() -> dict[str, object]:
        document = usual()
        schemas = document["components"]["schemas"]
        schemas["ProblemDetails"] = ProblemDetails.model_json_schema()
        openai = OpenAIError.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= {**openai.pop("$defs"), "OpenAIError": openai}
        return document

    app.openapi = openapi  # type: ignore[method-assign]


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
