"""The embedded LM: a model file that llama.cpp serves inside this process, as an engine of `dspy.LM`."""

import asyncio
import atexit
import json
import logging
import math
import os
import secrets
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

from dspy.lm15 import (
    ConfigurationError,
    ContextLengthError,
    InvalidRequestError,
    Message,
    Request,
    Response,
    ServerError,
    TextPart,
    UnsupportedFeatureError,
    Usage,
    response_to_events,
)

from ..data.errors import ModelFileError, SetupError

if TYPE_CHECKING:
    from xllamacpp import Server

THREADS_VARIABLE = "PERSONAAGENT_THREADS"
"""The environment variable that sets how many threads the embedded LM computes with."""

CONTEXT_TOKENS = 8192
"""Room of one call, prompt and answer together: with the default model 230 MB."""
PROMPT_CACHE_MIB = 384
"""Memory for prompts that were computed before: with the default model about 14,000 tokens, 20 system prompts.

A program asks under several contracts in turn, and each begins with its own long system prompt. With the cache each of
them is computed once, not at every turn.
"""
MAX_TOKENS = 512
"""Length of an answer for which no other limit is set; small models ramble."""
MOST_ITEMS = 8
"""Length of a list for which the schema sets no other limit."""
SEED = 1

_log = logging.getLogger(__name__)


class LlamaEngine:
    """Answers DSPy's requests with a model file, under the JSON schema that the request asks for.

    It computes one call at a time; calls made meanwhile wait. Threads may share an engine. The same calls in the same
    order get the same answers.

    Args:
        path: A GGUF file.
        threads: Threads to compute with; by default `PERSONAAGENT_THREADS`, else every core that this process may
            use. On a machine that is busy with other work, 1 is several times as fast as 2.

    Raises:
        ModelFileError: llama.cpp cannot load the file.
    """

    supports_function_calling = False
    supports_response_schema = True
    supported_params = frozenset({"response_format", "temperature", "max_tokens", "stop"})

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        self.path = path
        self.threads = threads or default_threads()
        self._server: Server | None = _served(path, self.threads)
        self.worker = ThreadPoolExecutor(1, thread_name_prefix="embedded-lm")

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def complete(self, request: Request) -> Response:
        """Return the model's answer.

        Raises:
            dspy.lm15.LM15Error: As DSPy expects of an engine, which makes a `dspy.LMError` of it.
        """
        if self._server is None:
            raise ConfigurationError("the embedded LM is closed: open it again with open_lm")
        try:
            answer = self._server.handle_chat_completions(_body(request))
        except ValueError as error:
            raise InvalidRequestError(f"llama.cpp cannot read the request: {error}") from error
        except RuntimeError as error:
            raise ServerError(f"llama.cpp failed: {error}") from error
        if error := answer.get("error"):
            _raise(error)
        return _response(answer, request.model)

    def stream(self, request: Request) -> Iterator[object]:
        """Yield the whole answer as one piece."""
        return response_to_events(self.complete(request))

    def close(self) -> None:
        """Wait for the calls of the asynchronous engine, then free the model's memory."""
        self.worker.shutdown(cancel_futures=True)
        self._server = None


class AsyncLlamaEngine:
    """The same engine for `await`: calls wait in a thread of their own, and the event loop goes on."""

    def __init__(self, engine: LlamaEngine) -> None:
        self._engine = engine

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    async def complete(self, request: Request) -> Response:
        """Return the model's answer; raises as `LlamaEngine.complete`."""
        return await asyncio.get_running_loop().run_in_executor(self._engine.worker, self._engine.complete, request)

    async def stream(self, request: Request) -> AsyncIterator[object]:
        """Yield the whole answer as one piece."""
        for event in response_to_events(await self.complete(request)):
            yield event

    async def aclose(self) -> None:
        """Do nothing: the engine is shared and closes when the process ends."""


_engines: dict[Path, LlamaEngine] = {}
_opening = threading.Lock()


def shared_engine(path: Path, *, threads: int | None = None) -> LlamaEngine:
    """Return this process's one engine of a model file, loaded at the first call and closed at exit.

    Raises:
        ModelFileError: llama.cpp cannot load the file.
    """
    path = path.resolve()
    with _opening:
        if path not in _engines:
            _engines[path] = LlamaEngine(path, threads=threads)
            atexit.register(_engines[path].close)
        engine = _engines[path]
    if threads not in (None, engine.threads):
        _log.warning("%s is loaded already, with %d threads: threads=%d is not used", path, engine.threads, threads)
    return engine


def default_threads() -> int:
    """Return `PERSONAAGENT_THREADS`, else the number of cores that this process may use.

    Raises:
        SetupError: The variable is not a whole number of at least 1.
    """
    chosen = os.environ.get(THREADS_VARIABLE)
    if not chosen:
        return usable_cores()
    if not chosen.isdecimal() or int(chosen) == 0:
        raise SetupError(f"{THREADS_VARIABLE} is {chosen!r}: give a whole number of at least 1, or leave it out")
    return int(chosen)


def usable_cores() -> int:
    """Return how many cores this process may use, by its affinity and its container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.is_file():
        allowed, period = quota.read_text().split()
        if allowed.isdigit():
            cores = min(cores, math.ceil(int(allowed) / int(period)))
    return cores


def _served(path: Path, threads: int) -> "Server":
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    # One call at a time: calls side by side cannot share a prompt that is being used, and compute it again each.
    params.n_ctx, params.n_parallel = CONTEXT_TOKENS, 1
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.verbosity, params.warmup = -1, False
    # llama.cpp always listens on a port of the loopback interface too: nobody else knows this key.
    params.api_keys = [secrets.token_hex(16)]
    params.ui = params.endpoint_slots = False
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as error:
        raise ModelFileError(
            f"{path}: llama.cpp cannot load this file: is it a GGUF model, and is there memory for it?"
        ) from error
    # A server that is closed before it was ever asked may hang.
    server.handle_completions({"prompt": "hi", "n_predict": 1})
    return server


def _body(request: Request) -> dict[str, Any]:
    config = request.config
    if request.tools:
        raise UnsupportedFeatureError("the embedded LM has no native tool calls", feature="tools")
    options = {
        "temperature": config.temperature or 0.0,
        "max_tokens": config.max_tokens or MAX_TOKENS,
        "seed": SEED if config.seed is None else config.seed,
        "stop": list(config.stop),
        "top_p": config.top_p,
        "top_k": config.top_k,
        "frequency_penalty": config.frequency_penalty,
        "presence_penalty": config.presence_penalty,
        "response_format": _response_format(config.response_format),
    }
    return {"messages": _messages(request), **{name: value for name, value in options.items() if value is not None}}


def _messages(request: Request) -> list[dict[str, str]]:
    system = [{"role": "system", "content": _text(request.system)}] if request.system else []
    roles = {"developer": "system"}
    return system + [{"role": roles.get(one.role, one.role), "content": _text(one.parts)} for one in request.messages]


def _text(content: "str | tuple[Any, ...]") -> str:
    if isinstance(content, str):
        return content
    if other := [part.type for part in content if not isinstance(part, TextPart)]:
        raise UnsupportedFeatureError(f"the embedded LM reads text, not {other[0]}", feature="messages")
    return "".join(part.text for part in content)


def _response_format(wanted: "Mapping[str, Any] | None") -> dict[str, Any] | None:
    if not wanted or wanted.get("type") != "json_schema":
        return {"type": "json_object"} if wanted else None
    # DSPy's form is flat and read-only; llama.cpp silently ignores a schema that is not nested like this.
    schema = json.loads(json.dumps(wanted["schema"], default=dict), object_hook=_bounded)
    return {
        "type": "json_schema",
        "json_schema": {"name": wanted.get("name", "answer"), "schema": schema, "strict": True},
    }


def _bounded(schema: dict[str, Any]) -> dict[str, Any]:
    """Bound a list that has no bound: small models go on until they may no longer."""
    return {"maxItems": MOST_ITEMS, **schema} if schema.get("type") == "array" else schema


def _response(answer: "Mapping[str, Any]", model: str) -> Response:
    choice, usage = answer["choices"][0], answer["usage"]
    return Response(
        id=answer["id"],
        model=model,
        message=Message.assistant([TextPart(choice["message"]["content"] or "")]),
        finish_reason="length" if choice["finish_reason"] == "length" else "stop",
        usage=Usage(
            input_tokens=usage["prompt_tokens"],
            output_tokens=usage["completion_tokens"],
            cache_read_tokens=usage.get("prompt_tokens_details", {}).get("cached_tokens"),
        ),
    )


def _raise(error: "Mapping[str, Any]") -> NoReturn:
    status, message = int(error["code"]), str(error["message"])
    if error.get("type") == "exceed_context_size_error":
        raise ContextLengthError(
            f"the prompt has {error['n_prompt_tokens']} tokens, and the embedded LM reads {error['n_ctx']}: "
            "give it fewer or shorter inputs, or ask another LM",
            status=status,
        )
    if status == 501:
        raise UnsupportedFeatureError(message, status=status)
    if 400 <= status < 500:
        raise InvalidRequestError(message, status=status)
    raise ServerError(message, status=status)
