"""The application: routes, what is opened while it runs, and the page."""

import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from importlib import resources
from importlib.metadata import version

from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi_swagger import patch_fastapi

from . import chat, me, memory, personas
from .configuration import MAX_BODY_BYTES
from .connections import bounded_bodies, utf8_paths
from .deployment import Deployment
from .observing import Metrics, add_observation, observed
from .problems import ANY_REQUEST, add_problems, documented

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
                await deployment.drain()

    app = FastAPI(
        title="PersonaAgent",
        description=_ABOUT,
        version=version("personaagent"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        separate_input_output_schemas=False,
        responses=documented(*ANY_REQUEST),
    )
    metrics = Metrics()
    _add_middleware(app, metrics, origins)
    add_problems(app)
    app.include_router(chat.router)
    app.include_router(memory.interactions_router)
    app.include_router(memory.memory_router)
    app.include_router(personas.personas_router)
    app.include_router(personas.alignments_router)
    app.include_router(me.router)
    add_observation(app, metrics)
    add_page(app)
    patch_fastapi(app, redirect_from_root_to_docs=False, swagger_ui_parameters={"persistAuthorization": False})
    return app


def _add_middleware(app: FastAPI, metrics: Metrics, origins: Sequence[str]) -> None:
    """Add what each request passes, from the inside out."""
    app.add_middleware(bounded_bodies, most_bytes=MAX_BODY_BYTES)
    app.add_middleware(observed, metrics=metrics)
    app.add_middleware(utf8_paths)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["X-Request-Id", "Retry-After", "ETag"],
        )


_MEDIA_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""The last of these makes browsers refuse `innerHTML`: what users and LMs write can only be put in as text."""


def add_page(app: FastAPI) -> None:
    """Serve the page at `/` and its files under `/page/`; none of them is part of the API."""
    for file in resources.files(__package__ or "").joinpath("page").iterdir():
        if (media_type := _MEDIA_TYPES.get(file.name.rpartition(".")[2])) is not None:
            path = "/" if file.name == "index.html" else f"/page/{file.name}"
            app.add_route(path, _sending(file.read_bytes(), media_type), include_in_schema=False)


def _sending(content: bytes, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": _POLICY,
        "ETag": tag,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }

    async def send(request: Request) -> Response:
        if request.headers.get("If-None-Match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=media_type, headers=headers)

    return send
