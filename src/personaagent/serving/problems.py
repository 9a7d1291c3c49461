"""Errors as `application/problem+json` (RFC 9457): a sentence for the client, and the id of the request in the log.

The sentences are ours. What errors of other libraries say never leaves the server, and the log has only their type.
"""

import logging
import secrets
import traceback
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from ..data import errors

_PROBLEMS = {
    errors.ErasedUserError: (404, "This user was erased, or is being erased.", None),
    errors.ChangedError: (412, "Another version is live by now: look at it first.", None),
    errors.UnknownUserError: (404, "Nothing is stored of this user yet.", None),
    errors.BudgetError: (503, "The server has spent what it may spend.", None),
    errors.AnswerError: (502, "The language model did not answer in the form that was asked for.", None),
    errors.TooLongError: (
        400,
        "This is longer than the language model can read: shorten it.",
        "context_length_exceeded",
    ),
    errors.LateError: (504, "The language model did not answer in time: try again.", None),
    errors.LMError: (502, "The language model could not be reached, or refused.", None),
    errors.FullError: (503, "The server's disk is full: nothing can be stored until there is room again.", None),
    errors.ServiceError: (502, "A service that this server needs did not answer.", None),
}
"""The first kind that an error is decides; the last of each is OpenAI's code."""
_OPENAI = ("/v1/chat", "/v1/models")
"""Paths whose errors have OpenAI's form."""
ANY_REQUEST = (400, 401, 403, 404, 408, 413, 422, 429, 500, 503)
"""Problems in which any request may end."""
_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}

_log = logging.getLogger(__name__)


class ProblemDetails(BaseModel):
    """What the body of every error holds."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["There is no persona version 7."])
    id: str = Field(description="Names the request in the server's log.", examples=["3f2a9c01d4e5b677"])


class OpenAIProblem(BaseModel):
    """What went wrong."""

    message: str
    type: str = Field(examples=["invalid_request_error"])
    param: None = None
    code: str | None = Field(examples=["model_not_found"])
    id: str = Field(description="Names the request in the server's log.", examples=["3f2a9c01d4e5b677"])


class OpenAIError(BaseModel):
    """What the body of every error holds under `/v1/chat` and `/v1/models`."""

    error: OpenAIProblem


class Problem(Exception):
    """Ends a request with a problem: what is wrong and what to do, in one sentence; `code` is OpenAI's, if any."""

    def __init__(
        self, status: int, detail: str, headers: dict[str, str] | None = None, code: str | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.code = status, detail, headers or {}, code


def documented(*statuses: int, is_openai: bool = False) -> dict[int | str, dict[str, Any]]:
    """Return problems as the responses of an OpenAPI document, in OpenAI's form if it is one of its endpoints."""
    form = ("application/json", "OpenAIError") if is_openai else ("application/problem+json", "ProblemDetails")
    content = {form[0]: {"schema": {"$ref": f"#/components/schemas/{form[1]}"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def add_problems(app: FastAPI) -> None:
    """Let every error of an app end as a problem, and describe their form in its OpenAPI document."""
    app.openapi = partial(_with_problems, app.openapi)  # type: ignore[method-assign]

    @app.exception_handler(Problem)
    async def _problem(request: Request, problem: Problem) -> JSONResponse:
        return problem_response(request, problem)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        return problem_response(request, Problem(400 if _is_openai(request) else 422, f"{field}: {first['msg']}."))

    @app.exception_handler(HTTPException)
    async def _refused(request: Request, error: HTTPException) -> JSONResponse:
        detail = f"{HTTPStatus(error.status_code).phrase}: see /openapi.json for what there is."
        return problem_response(request, Problem(error.status_code, detail, dict(error.headers or {})))

    @app.exception_handler(errors.PersonaAgentError)
    async def _ours(request: Request, error: errors.PersonaAgentError) -> JSONResponse:
        problem = problem_of(error)
        if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.warning("request %s: %s", request_id(request), type(error).__name__)
        return problem_response(request, problem)

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> JSONResponse:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{last.filename}:{last.lineno}"
        _log.error("request %s: unexpected %s at %s", request_id(request), type(error).__name__, where)
        return problem_response(request, Problem(500, "Something went wrong here; the log has more under this id."))


def _with_problems(openapi: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    document = openapi()
    schemas = document["components"]["schemas"]
    schemas["ProblemDetails"] = ProblemDetails.model_json_schema()
    openai = OpenAIError.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= {**openai.pop("$defs"), "OpenAIError": openai}
    return document


def problem_of(error: errors.PersonaAgentError) -> Problem:
    """Return what a client is told of one of our errors."""
    if isinstance(error, errors.LimitError):
        return Problem(429, error.detail, {"Retry-After": str(error.retry_after_seconds)})
    if isinstance(error, errors.QuotaError):
        return Problem(413, f"{error}.")
    if isinstance(error, errors.UnknownNameError):
        return Problem(404, f"There is no such {error.kind}.")
    for kind, (status, detail, code) in _PROBLEMS.items():
        if isinstance(error, kind):
            return Problem(status, detail, code=code)
    if isinstance(error, errors.InputError):
        return Problem(422, f"{error}.")
    return Problem(503, "The server cannot store or read just now: try again.")


def problem_response(request: Request, problem: Problem) -> JSONResponse:
    """Return a problem as a response, in OpenAI's form where its clients ask."""
    if _is_openai(request):
        return JSONResponse(openai_error(request, problem), problem.status, problem.headers)
    body = ProblemDetails(
        type="about:blank",
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=problem.detail,
        id=request_id(request),
    )
    return JSONResponse(body.model_dump(), problem.status, problem.headers, media_type="application/problem+json")


def openai_error(request: Request, problem: Problem) -> dict[str, Any]:
    """Return a problem as OpenAI's API writes it."""
    kind = "server_error" if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    code = problem.code or _CODES.get(problem.status)
    error = OpenAIProblem(message=problem.detail, type=kind, code=code, id=request_id(request))
    return OpenAIError(error=error).model_dump()


def _is_openai(request: Request) -> bool:
    return request.url.path.startswith(_OPENAI)


def request_id(request: Request) -> str:
    """Return the id of a request, which it gets when it is first asked for."""
    if not hasattr(request.state, "request_id"):
        request.state.request_id = secrets.token_hex(8)
    return request.state.request_id
