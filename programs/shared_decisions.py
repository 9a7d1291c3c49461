"""One LM call for several arms of an evaluation that ask the same and differ in what they make of the answer."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import dspy
from dspy.lm15 import Request, Response

from .scope import current_scope
from .spend import Meter


class _Made(NamedTuple):
    response: Response
    seconds: float


class _Shared(NamedTuple):
    made: dict[tuple[str, ...], _Made]
    charged: bool
    outer: "_Shared | None"


_shared: ContextVar[_Shared | None] = ContextVar("personaagent_shared_decisions", default=None)


@contextmanager
def sharing_decisions(*, charged: bool = True) -> Generator[None]:
    """Make each decision once for each user inside.

    Args:
        charged: Whether asking the same again is charged as if the LM were asked, so that an arm's spend is what it
            would cost by itself. What is asked for the first time inside is charged always.
    """
    token = _shared.set(_Shared({}, charged, _shared.get()))
    try:
        yield
    finally:
        _shared.reset(token)


def once(request: Request, ask: Callable[[Request], Response]) -> Response:
    """Return the response to a request, which is asked only if it was not yet; see `sharing_decisions`."""
    return _once(_shared.get(), request, ask)


def _once(shared: _Shared | None, request: Request, ask: Callable[[Request], Response]) -> Response:
    if shared is None:
        return ask(request)
    texts = (message.text or "" for message in request.messages)
    key = (current_scope().user_key, request.model, str(request.system), *texts)
    if (before := shared.made.get(key)) is not None:
        if shared.charged:
            _count_again(before)
        return before.response
    began = time.perf_counter()
    response = _once(shared.outer, request, ask)
    shared.made[key] = _Made(response, time.perf_counter() - began)
    return response


def _count_again(made: _Made) -> None:
    meter, usage = dspy.settings.usage_tracker, made.response.usage
    if isinstance(meter, Meter):
        tokens = {"prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens}
        meter.add_usage(made.response.model, tokens)
        meter.add_recorded_seconds(made.seconds)
