"""What a server does not take of a request: probabilities, JSON schemas, a parameter that it does not know.

A request that is refused is made again without what the refusal names, or else without one thing after the other. What
was refused is not asked for again while this process lives. Whoever asks sees none of it: the journal records the whole
request and the answer, so that a replay agrees.
"""

import logging
import re
from collections.abc import Callable, Generator
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import dspy
from dspy.lm15 import Config, Request, Response

from ..data.call import as_written

_log = logging.getLogger(__name__)


class _Feature(NamedTuple):
    """One thing that a server may refuse.

    Args:
        names: What a refusal of it says.
        without: Returns a request's settings without it; None if they do not have it.
        only_named: Whether it is left out only where the refusal names it.
        said: What the log says of a server that refuses it; empty if another place says so.
    """

    names: re.Pattern[str]
    without: Callable[[Config], Config | None]
    only_named: bool = False
    said: str = ""


def _no_probabilities(config: Config) -> Config | None:
    asks = config.logprobs is not None or config.probabilities is not None
    return replace(config, logprobs=None, probabilities=None) if asks else None


def _no_schema(config: Config) -> Config | None:
    form: Any = {"type": "json_object"}
    return replace(config, response_format=form) if _form(config) == "json_schema" else None


def _no_form(config: Config) -> Config | None:
    return replace(config, response_format=None) if _form(config) else None


def _form(config: Config) -> str:
    return str((config.response_format or {}).get("type", ""))


def _no_temperature(config: Config) -> Config | None:
    return None if config.temperature is None else replace(config, temperature=None)


def _limited_by(parameter: str) -> Callable[[Config], Config | None]:
    """Return what limits the length of an answer by this parameter in place of the usual one."""

    def limited(config: Config) -> Config | None:
        if config.max_tokens is None:
            return None
        extensions: Any = {**(config.extensions or {}), parameter: config.max_tokens}
        return replace(config, max_tokens=None, extensions=extensions)

    return limited


_FORM = re.compile(r"response.?format|json|schema|grammar|structured", re.IGNORECASE)
_LIMITS = (
    _Feature(
        re.compile(r"^(?:(?!max_completion_tokens).)*max_tokens", re.DOTALL), _limited_by("max_completion_tokens"), True
    ),
    _Feature(re.compile(r"^(?:(?!max_tokens).)*max_completion_tokens", re.DOTALL), _limited_by("max_tokens"), True),
)
"""The name of the limit that a refusal says first is the one that it refuses."""
_FEATURES = (
    *_LIMITS,
    _Feature(re.compile("temperature", re.IGNORECASE), _no_temperature, True, "takes no temperature: its own is used"),
    _Feature(re.compile(r"log.?prob|probabilit", re.IGNORECASE), _no_probabilities),
    _Feature(_FORM, _no_schema, said="takes no JSON schema: it is asked for JSON of any form"),
    _Feature(_FORM, _no_form, said="takes no response format: the prompt alone says in which form to answer"),
)

_by_server: dict[tuple[str, str], set[_Feature]] = {}
_by_lm: "WeakKeyDictionary[dspy.LM, set[_Feature]]" = WeakKeyDictionary()


def without_refused(lm: dspy.LM, request: Request) -> Response:
    """Ask without what the LM's server refused before, and again without what it refuses now.

    Raises:
        dspy.LMError: The LM failed, or refuses the request without all that can be left out too.
    """
    ask: Any = lm
    tries = _tries(lm, request)
    asked = next(tries)
    while True:
        try:
            outcome = ask(asked)
        except dspy.LMError as error:
            outcome = error
        try:
            asked = tries.send(outcome)
        except StopIteration as end:
            return end.value


async def awithout_refused(lm: dspy.LM, request: Request) -> Response:
    """Do what `without_refused` does, awaited."""
    ask: Any = lm
    tries = _tries(lm, request)
    asked = next(tries)
    while True:
        try:
            outcome = await ask.acall(asked)
        except dspy.LMError as error:
            outcome = error
        try:
            asked = tries.send(outcome)
        except StopIteration as end:
            return end.value


def forget_refusals() -> None:
    """Forget what servers refused, as a new process does."""
    _by_server.clear()
    say_once.cache_clear()


def _tries(lm: dspy.LM, request: Request) -> Generator[Request, Response | dspy.LMError, Response]:
    """Yield requests, each without one thing more, and return the first response."""
    refused = _refused_by(lm)
    config = request.config
    for feature in _FEATURES:
        config = (feature.without(config) if feature in refused else None) or config
    left_out: list[_LeftOut] = []
    error: dspy.LMError | None = None
    while isinstance(outcome := (yield replace(request, config=config)), dspy.LMError):
        now = None if _asks_below(lm) else _refused_now(config, outcome)
        if error is not None and left_out[-1].feature in _LIMITS and not (now and now.named):
            raise error  # Another name for the limit did not help: the limit itself is wrong.
        if now is None:
            raise outcome
        config, error = now.config, outcome
        left_out.append(now)
    if left_out:
        _remember(lm, refused, left_out)
    return outcome


class _LeftOut(NamedTuple):
    """What is left out after a refusal, whether the refusal names it, and the settings without it."""

    feature: _Feature
    named: bool
    config: Config


def _refused_now(config: Config, error: dspy.LMError) -> _LeftOut | None:
    """Return what to leave out after an error; None if nothing."""
    if isinstance(error, dspy.ContextWindowExceededError):
        return None
    if not isinstance(error, dspy.LMUnsupportedFeatureError) and error.status not in (400, 422):
        return None
    said = str(error.message)
    there = [
        _LeftOut(feature, feature.names.search(said) is not None, without)
        for feature in _FEATURES
        if (without := feature.without(config)) is not None
    ]
    likely = [less for less in there if less.named] or [less for less in there if not less.feature.only_named]
    return likely[0] if likely else None


def _remember(lm: dspy.LM, refused: set[_Feature], left_out: list[_LeftOut]) -> None:
    """Remember what helped. What was only tried on the way to it may be taken: the next request finds out."""
    *before, last = left_out
    refused.update(less.feature for less in before if less.named)
    refused.add(last.feature)
    if last.feature.said:
        say_once(lm.model, last.feature.said)


def _refused_by(lm: dspy.LM) -> set[_Feature]:
    if isinstance(getattr(lm, "engine", None), str):
        return _by_server.setdefault((str(lm.kwargs.get("api_base") or ""), lm.model), set())
    return _by_lm.setdefault(lm, set())


def _asks_below(lm: dspy.LM) -> bool:
    """Whether the LM's engine itself asks without what is refused, as the journal's does."""
    return bool(getattr(getattr(lm, "engine", None), "leaves_out_what_is_refused", False))


@cache
def say_once(model: str, what: str) -> None:
    """Say something of a model in the log, once in this process."""
    _log.warning("%s %s", as_written(model), what)
