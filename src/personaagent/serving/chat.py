"""OpenAI's chat completions, so that its clients work unchanged."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from ..data.errors import PersonaAgentError
from ..data.task import OPEN, Task, known_tasks
from ..programs.context import Context
from .access import Charged, Deployed, Key
from .completions import MODEL, ChatCompletion, Chunks, ModelCard, ModelList, completion_of
from .idempotency import IdempotentRoute
from .messages import Message, ResponseFormat, is_chore, question_of, schema_of
from .problems import Problem, explained, openai_documented, openai_error
from .question import Answer, Question, taken

_SECONDS_OF_SILENCE = 5.0
"""After which a stream that has nothing to say yet says so: proxies cut what is silent."""

_CLIENT_IS_GONE = 499

router = APIRouter(tags=["OpenAI"], route_class=IdempotentRoute)


class StreamOptions(BaseModel):
    """What a stream has besides the answer."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """A request for an answer. Settings of OpenAI's that are not named here are taken and have no effect."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [{"model": MODEL, "messages": [{"role": "user", "content": "A film for tonight?"}]}]
        },
    )

    model: str = Field(max_length=100, description="`personaagent`, or `personaagent/TASK` for an answer in its form.")
    messages: list[Message] = Field(
        min_length=1, description="The user's last message is the question, and all that is remembered."
    )
    stream: bool = False
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    store: bool | None = Field(default=None, description="false: answer without memory, and remember nothing.")


Stored = Annotated[
    bool | None, Header(alias="X-PersonaAgent-Store", description="As `store`, for clients that cannot set that.")
]


@router.get("/v1/models", responses=openai_documented())
def models(_key: Key) -> ModelList:
    """List the models: one, and one for each task whose answers have a form."""
    return ModelList(data=[ModelCard(id=name) for name in (MODEL, *(f"{MODEL}/{task}" for task in _with_a_form()))])


@router.get("/v1/models/{model:path}", responses=openai_documented())
def model(_key: Key, model: Annotated[str, Path(max_length=200)]) -> ModelCard:
    """Return one model."""
    task_of(model)
    return ModelCard(id=model)


@router.post(
    "/v1/chat/completions",
    response_model=ChatCompletion,
    responses={**openai_documented(502, 504), 200: {"content": {"text/event-stream": {}}}},
)
async def chat_completions(
    request: Request, body: ChatRequest, called: Charged, deployed: Deployed, stored: Stored = None
) -> Any:
    """Answer the user's last message as the user would want it, under the live persona, and remember the exchange."""
    query, conversation = question_of(body.messages)
    pieces = _Pieces()
    question = Question(
        query=query,
        task=task_of(body.model),
        context=Context(conversation, schema_of(body.response_format)),
        remembered=stored is not False and body.store is not False and not is_chore(query),
        tell=pieces.tell if body.stream else None,
    )
    work = asyncio.create_task(deployed.answer(called, question))
    work.add_done_callback(taken)
    if body.stream:
        with_usage = body.stream_options is not None and body.stream_options.include_usage
        chunks = Chunks(question.interaction_id, body.model)
        events = _streamed(request, work, pieces, chunks, with_usage=with_usage)
        return StreamingResponse(events, media_type="text/event-stream")
    answer = await _unless_gone(request, work)
    return JSONResponse(completion_of(answer, body.model).model_dump(mode="json"))


def task_of(model: str) -> Task:
    """Return the task that a model's name says.

    Raises:
        Problem: There is no such model.
    """
    name, _, task = model.partition("/")
    tasks = _with_a_form()
    if name != MODEL or (task and task not in tasks):
        raise Problem(404, "There is no such model: GET /v1/models lists those that there are.", code="model_not_found")
    return tasks[task] if task else OPEN


def _with_a_form() -> dict[str, Task]:
    return {name: task for name, task in known_tasks().items() if task != OPEN}


async def _unless_gone(request: Request, work: "asyncio.Task[Answer]") -> Answer:
    """Return the answer; the client's leaving cancels it.

    Raises:
        Problem: The client has left, or the server stops.
    """
    leaving = asyncio.create_task(_left(request))
    try:
        await asyncio.wait([work, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise Problem(_CLIENT_IS_GONE, "The client has closed the connection.")
        return work.result()
    except asyncio.CancelledError:
        raise Problem(503, "The server is stopping: ask again in a moment.") from None
    finally:
        work.cancel()
        leaving.cancel()


async def _left(request: Request) -> None:
    """Wait until the client of a request whose body was read has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _Pieces:
    """Carries the pieces of an answer from the thread in which they come."""

    def __init__(self) -> None:
        self._loop, self._queue = asyncio.get_running_loop(), asyncio.Queue[str]()

    def tell(self, piece: str) -> None:
        """Take a piece, in any thread."""
        self._loop.call_soon_threadsafe(self._queue.put_nowait, piece)

    async def next(self, work: "asyncio.Task[Answer]") -> str | None:
        """Return the next piece; None if there is none for a while, or the work is done and all was returned."""
        if not self._queue.empty() or work.done():
            return None if self._queue.empty() else self._queue.get_nowait()
        waiting = asyncio.ensure_future(self._queue.get())
        await asyncio.wait([work, waiting], timeout=_SECONDS_OF_SILENCE, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return waiting.result()
        waiting.cancel()
        return None


async def _streamed(
    request: Request, work: "asyncio.Task[Answer]", pieces: _Pieces, chunks: Chunks, *, with_usage: bool
) -> AsyncIterator[str]:
    """Yield the answer as events: what is written as it comes, the end when it is stored."""
    try:
        while not work.done():
            piece = await pieces.next(work)
            if piece is not None:
                for chunk in chunks.of(piece):
                    yield _event(chunk)
            elif not work.done():
                yield ": thinking\n\n"
    finally:
        work.cancel()  # Where the client is gone and the LM was not asked yet.
    try:
        for chunk in chunks.rest(work.result(), with_usage=with_usage):
            yield _event(chunk)
    except PersonaAgentError as error:
        status, detail, code = explained(error)
        yield _event(openai_error(request, status, detail, code))
        return
    yield "data: [DONE]\n\n"


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"
