"""OpenAI's chat completions, so that its clients work unchanged."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ..data.errors import PersonaAgentError
from ..data.task import OPEN, Task
from ..data.tasks import known_tasks
from .access import Charged, Deployed, Key
from .configuration import MAX_TEXT
from .deployment import Answer
from .idempotency import IdempotentRoute
from .problems import Problem, documented, explained, request_id

MODEL = "personaagent"
_WORDS_A_CHUNK = 8
_SECONDS_OF_SILENCE = 5.0
"""After which a stream that has nothing to say yet says so: proxies cut what is silent."""

router = APIRouter(tags=["OpenAI"], route_class=IdempotentRoute)
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]


class TextPart(BaseModel):
    """A part of a message."""

    type: Literal["text"]
    text: Text


class Message(BaseModel):
    """A message of a conversation."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[TextPart]

    @property
    def words(self) -> str:
        """What it says."""
        return self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)


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
    messages: list[Message] = Field(min_length=1, max_length=200)
    stream: bool = False
    stream_options: StreamOptions | None = None


class Usage(BaseModel):
    """Tokens of every call to the LM that the answer took."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class SaidMessage(BaseModel):
    """The answer."""

    role: Literal["assistant"] = "assistant"
    content: str


class Choice(BaseModel):
    """The one answer that there is."""

    index: Literal[0] = 0
    message: SaidMessage
    finish_reason: Literal["stop"] = "stop"


class Origin(BaseModel):
    """Where an answer came from: what feedback on it names."""

    interaction_id: str
    persona_version: int | None
    without_memory: bool = Field(description="Whether the user's memory could not be reached.")


class ChatCompletion(BaseModel):
    """An answer."""

    id: str = Field(examples=["chatcmpl-5f1c0a9be2d34c6788aa01b2"])
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    personaagent: Origin


class ModelCard(BaseModel):
    """A model that can be named in a request."""

    id: str
    object: Literal["model"] = "model"
    created: Literal[0] = 0
    owned_by: str = MODEL


class ModelList(BaseModel):
    """The models that there are."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


@router.get("/v1/models", responses=documented())
def models(_key: Key) -> ModelList:
    """List the models: one, and one for each task whose answers have a form."""
    return ModelList(data=[ModelCard(id=name) for name in (MODEL, *(f"{MODEL}/{task}" for task in _with_a_form()))])


@router.post(
    "/v1/chat/completions",
    response_model=ChatCompletion,
    responses={**documented(502), 200: {"content": {"text/event-stream": {}}}},
)
async def chat_completions(request: Request, body: ChatRequest, called: Charged, deployed: Deployed) -> Any:
    """Answer the last message as the key's user would want it, under the live persona, and remember the exchange."""
    task, query = task_of(body.model), query_of(body.messages)
    work = asyncio.create_task(deployed.answer(called, query, task))
    if body.stream:
        with_usage = body.stream_options is not None and body.stream_options.include_usage
        return StreamingResponse(_streamed(request, work, body.model, with_usage), media_type="text/event-stream")
    answer = await work
    return JSONResponse(_completion(answer, body.model).model_dump(mode="json"))


def task_of(model: str) -> Task:
    """Return the task that a model's name says.

    Raises:
        Problem: There is no such model.
    """
    name, _, task = model.partition("/")
    tasks = _with_a_form()
    if name != MODEL or (task and task not in tasks):
        raise Problem(404, "There is no such model: GET /v1/models lists those that there are.")
    return tasks[task] if task else OPEN


def query_of(messages: Sequence[Message]) -> str:
    """Return what is asked: the last message; where others stand before it, all of them as a conversation.

    Raises:
        Problem: The last message is not the user's, or says nothing.
    """
    *before, last = messages
    if last.role != "user" or not last.words.strip():
        raise Problem(422, "messages: the last one must be the user's, and say something.")
    if not before:
        return last.words
    said = "\n".join(f"{message.role}: {message.words}" for message in before)
    return f"The conversation so far:\n{said}\n\nuser: {last.words}"


def _with_a_form() -> dict[str, Task]:
    return {name: task for name, task in known_tasks().items() if task != OPEN}


def _completion(answer: Answer, model: str) -> ChatCompletion:
    one = answer.interaction
    return ChatCompletion(
        id=f"chatcmpl-{one.interaction_id}",
        created=int(one.at.timestamp()) if one.at else 0,
        model=model,
        choices=[Choice(message=SaidMessage(content=one.response or ""))],
        usage=_usage(answer),
        personaagent=Origin(
            interaction_id=one.interaction_id,
            persona_version=one.persona_version,
            without_memory=answer.without_memory,
        ),
    )


def _usage(answer: Answer) -> Usage:
    prompt, completion = answer.spend.prompt_tokens, answer.spend.completion_tokens
    return Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)


async def _streamed(request: Request, work: "asyncio.Task[Answer]", model: str, with_usage: bool) -> AsyncIterator[str]:
    """Yield the answer as events, once it is stored: nobody sees what is not."""
    while not work.done():
        await asyncio.wait([work], timeout=_SECONDS_OF_SILENCE)
        if not work.done():
            yield ": thinking\n\n"
    try:
        answer = work.result()
    except PersonaAgentError as error:
        status, detail = explained(error)
        yield _event({"error": {"message": detail, "type": "server_error", "code": status, "id": request_id(request)}})
        return
    for chunk in _chunks(answer, model, with_usage):
        yield _event(chunk)
    yield "data: [DONE]\n\n"


def _chunks(answer: Answer, model: str, with_usage: bool) -> Iterator[dict[str, Any]]:
    whole = _completion(answer, model).model_dump(mode="json")
    usage, choices = whole.pop("usage"), whole.pop("choices")
    shared = {**whole, "object": "chat.completion.chunk"}

    def chunk(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
        return {**shared, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}

    yield chunk({"role": "assistant", "content": ""})
    words = choices[0]["message"]["content"].split(" ")
    for start in range(0, len(words), _WORDS_A_CHUNK):
        more = " " if start + _WORDS_A_CHUNK < len(words) else ""
        yield chunk({"content": " ".join(words[start : start + _WORDS_A_CHUNK]) + more})
    yield chunk({}, "stop")
    if with_usage:
        yield {**shared, "choices": [], "usage": usage}


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"
