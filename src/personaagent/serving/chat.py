"""`/v1/chat/completions` and `/v1/models` as OpenAI has them, so that its clients work unchanged."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request
from fastapi.responses import JSONResponse, StreamingResponse

from ..data.errors import PersonaAgentError
from ..data.task import OPEN, Task, known_tasks
from ..programs.context import Context
from .access import DeploymentDep, KeyDep, PayingCallerDep
from .answering import Answer, Question, retrieve_exception
from .completions import (
    MODEL,
    ChatCompletion,
    ChatRequest,
    Chunks,
    ModelCard,
    ModelList,
    completion_of,
    is_chore,
)
from .idempotency import IdempotentRoute
from .problems import ANY_REQUEST, Problem, documented, openai_error, problem_of

_SECONDS_OF_SILENCE = 5.0
"""How often a stream that has nothing to send sends a comment: proxies cut silent connections."""
_CLIENT_IS_GONE = 499
_Pieces = asyncio.Queue[str | None]
"""Pieces of an answer as they are written; None is the end."""

router = APIRouter(tags=["OpenAI"], route_class=IdempotentRoute, responses=documented(*ANY_REQUEST, is_openai=True))
StoreHeader = Annotated[
    bool | None, Header(alias="X-PersonaAgent-Store", description="As `store`, for clients that cannot set that.")
]


@router.get("/v1/models")
def models(_key: KeyDep) -> ModelList:
    """List the models: one, and one for each task whose answers have a form."""
    return ModelList(data=[ModelCard(id=name) for name in (MODEL, *(f"{MODEL}/{task}" for task in _tasks_with_form()))])


@router.get("/v1/models/{model:path}")
def model(_key: KeyDep, model: Annotated[str, Path(max_length=200)]) -> ModelCard:
    """Return one model."""
    _task_of(model)
    return ModelCard(id=model)


@router.post(
    "/v1/chat/completions",
    response_model=ChatCompletion,
    responses={**documented(502, 504, is_openai=True), 200: {"content": {"text/event-stream": {}}}},
)
async def chat_completions(
    request: Request,
    body: ChatRequest,
    caller: PayingCallerDep,
    deployment: DeploymentDep,
    stored: StoreHeader = None,
) -> Any:
    """Answer the user's last message as the user would want it, under the live persona, and remember the exchange."""
    query, conversation = body.question()
    pieces, loop = _Pieces(), asyncio.get_running_loop()

    def put(piece: str) -> None:
        loop.call_soon_threadsafe(pieces.put_nowait, piece)

    question = Question(
        query=query,
        task=_task_of(body.model),
        context=Context(conversation, body.wanted_schema),
        remembered=stored is not False and body.store is not False and not is_chore(query),
        on_piece=put if body.stream else None,
    )
    answering = asyncio.create_task(deployment.answer(caller, question))
    answering.add_done_callback(retrieve_exception)
    if body.stream:
        chunks = Chunks(question.interaction_id, body.model)
        events = _events(request, answering, pieces, chunks, with_usage=body.wants_usage)
        return StreamingResponse(events, media_type="text/event-stream")
    answer = await _unless_gone(request, answering)
    return JSONResponse(completion_of(answer, body.model).model_dump(mode="json"))


def _task_of(model: str) -> Task:
    name, _, task = model.partition("/")
    tasks = _tasks_with_form()
    if name != MODEL or (task and task not in tasks):
        raise Problem(404, "There is no such model: GET /v1/models lists those that there are.", code="model_not_found")
    return tasks[task] if task else OPEN


def _tasks_with_form() -> dict[str, Task]:
    return {name: task for name, task in known_tasks().items() if task != OPEN}


async def _unless_gone(request: Request, answering: "asyncio.Task[Answer]") -> Answer:
    """Return the answer; if the client leaves, or the server stops, cancel it and end the request with a problem."""
    leaving = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait([answering, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            raise Problem(_CLIENT_IS_GONE, "The client has closed the connection.")
        return answering.result()
    except asyncio.CancelledError:
        raise Problem(503, "The server is stopping: ask again in a moment.") from None
    finally:
        answering.cancel()
        leaving.cancel()


async def _disconnected(request: Request) -> None:
    """Wait until the client of a request whose body was read has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _events(
    request: Request, answering: "asyncio.Task[Answer]", pieces: _Pieces, chunks: Chunks, *, with_usage: bool
) -> AsyncIterator[str]:
    """Yield the answer as events: what is written as it comes, the end when it is stored."""
    answering.add_done_callback(lambda _: pieces.put_nowait(None))
    try:
        while True:
            try:
                piece = await asyncio.wait_for(pieces.get(), _SECONDS_OF_SILENCE)
            except TimeoutError:
                yield ": thinking\n\n"
                continue
            if piece is None:
                break
            for chunk in chunks.of(piece):
                yield _event(chunk)
    finally:
        answering.cancel()  # Where the client is gone and the LM was not asked yet.
    try:
        for chunk in chunks.rest(answering.result(), with_usage=with_usage):
            yield _event(chunk)
    except PersonaAgentError as error:
        yield _event(openai_error(request, problem_of(error)))
        return
    yield "data: [DONE]\n\n"


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"
