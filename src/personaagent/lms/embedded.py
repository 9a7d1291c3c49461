"""The embedded LM: a model file that llama.cpp serves inside this process, as an engine of `dspy.LM`."""

import atexit
import logging
import math
import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dspy.lm15 import ConfigurationError, InvalidRequestError, Request, Response, ServerError

from ..data.errors import ModelFileError, SetupError, needing
from ..programs.decision_lm import answer_probabilities
from ..programs.scope import cancellation_here
from ..programs.streaming import stream_here
from .engines import Engine
from .llama_requests import (
    body_of,
    choice_of,
    decision_of,
    next_tokens_of,
    piece_of,
    raise_as_dspy,
    response_of,
    whole_of,
)

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
MOST_ALTERNATIVES = 200
"""Tokens among which answers are looked for; what is rarer has no probability worth a name."""

_log = logging.getLogger(__name__)


class LlamaEngine(Engine):
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

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        self.path = path
        self.threads = threads or default_threads()
        self._server: Server | None = _served(path, self.threads)

    def complete(self, request: Request) -> Response:
        """Return the model's answer."""
        body = body_of(request)
        if request.config.probabilities and (decided := self._decided(request, body)) is not None:
            return decided
        return response_of(self._streamed(body), request.model)

    def _streamed(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return an answer that is sent on while it is written, if it is to be streamed, and that can be cut off."""
        chunks: list[dict[str, Any]] = []
        stream, cancellation = stream_here(), cancellation_here()

        def is_enough(chunk: dict[str, Any]) -> bool:
            chunks.append(chunk)
            if stream is not None:
                stream.write(piece_of(chunk))
            return cancellation.is_cut

        self._answered({**body, "stream": True, "stream_options": {"include_usage": True}}, is_enough)
        cancellation.stop_if_cut()
        return whole_of(chunks)

    def _answered(self, body: dict[str, Any], *is_enough: "Callable[[dict[str, Any]], bool]") -> dict[str, Any]:
        """Return an answer, or nothing if it goes to a function in pieces until that says that it is enough."""
        if self._server is None:
            raise ConfigurationError("the embedded LM is closed: open it again with open_lm")
        try:
            answer: dict[str, Any] = self._server.handle_chat_completions(body, *is_enough) or {}
        except ValueError as error:
            raise InvalidRequestError(f"llama.cpp cannot read the request: {error}") from error
        except RuntimeError as error:
            raise ServerError(f"llama.cpp failed: {error}") from error
        if error := answer.get("error"):
            raise_as_dspy(error)
        return answer

    def _decided(self, request: Request, body: dict[str, Any]) -> Response | None:
        """Return the probabilities of the answers that the request allows; None if it does not ask to choose one."""
        if (choice := choice_of(request)) is None:
            return None
        field, answers = choice
        positions: list[dict[str, Any]] = []

        def next_tokens(begun: bytes) -> dict[bytes, float]:
            try:
                answer = f'{{"{field}": "{begun.decode()}'
            except UnicodeDecodeError:  # The token ends within a character.
                return {}
            messages = [*body["messages"], {"role": "assistant", "content": answer}]
            one_token = {"max_tokens": 1, "temperature": 0.0, "logprobs": True, "top_logprobs": MOST_ALTERNATIVES}
            positions.append(self._answered({"messages": messages, **one_token}))
            return next_tokens_of(positions[-1])

        probabilities = answer_probabilities(next_tokens, answers)
        return None if probabilities is None else decision_of(field, probabilities, positions, request.model)

    def close(self) -> None:
        """Free the model's memory."""
        self._server = None


_engines: dict[Path, LlamaEngine] = {}
_opening = threading.Lock()


def shared_engine(path: Path, *, threads: int | None = None) -> LlamaEngine:
    """Return this process's one engine of a model file, loaded at the first call and closed at exit."""
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
    """Return `PERSONAAGENT_THREADS`, else the number of cores that this process may use."""
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
    with needing("local"):
        import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    # One call at a time: calls side by side cannot share a prompt that is being used, and compute it again each.
    params.n_ctx, params.n_parallel = CONTEXT_TOKENS, 1
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.verbosity, params.warmup = -1, False
    # llama.cpp always listens on a port of the loopback interface too: no other program knows this key.
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
