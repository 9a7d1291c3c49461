"""The call journal's engines: the only way to a language model.

A journalled LM answers a call from the journal if its run made that call before. Otherwise the call's worst case is set
aside, the request is written down, the LM is asked, the response is written down, and only then does the caller see it.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Generator, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Self

import dspy
from dspy._vendor.lm15.serde import request_to_dict, response_from_dict, response_to_dict
from dspy.clients.backend_selection import CLIENT_KEYS
from dspy.lm15 import Request, Response, response_to_events
from dspy.utils import exceptions

from ..data.call import AskedLM, Attempt, Cost, Failure, as_written
from ..data.errors import DivergenceError, without_secrets
from ..data.texts import clean
from ..lms.accounts import endpoint_of, key_of, with_its_key
from ..lms.plain_lm import PlainLM
from ..lms.prices import Price, price_of
from ..programs.cancelling import cancellation_here
from ..programs.heard import heard
from ..programs.spend import Meter
from .patience import Patience
from .recorder import LOST, Line, OpenCall, Recorder
from .writer import Turn

LONGEST_ANSWER = 128_000
"""Tokens that an answer may have for which no limit is set."""

_SAID_ELSEWHERE = CLIENT_KEYS | {"temperature", "max_tokens", "max_completion_tokens"}
"""Settings of an LM that say how it is reached, or that a run notes by name."""
_UNBILLED = (exceptions.LMRateLimitError, exceptions.LMAuthError, exceptions.LMInvalidRequestError)
"""What a service refuses it does not bill; of any other failure nobody knows."""


@dataclass(frozen=True)
class _Ask:
    """The step that asks the LM itself."""


_Step = Future[None] | Turn | _Ask | float
"""What a call waits for: the purse or the disk, the LM, or so many seconds."""
_Outcome = Response | dspy.LMError | None
"""What a step came to; only the LM's has something to say."""


def asked_lm(lm: dspy.LM, run_id: str) -> AskedLM:
    """Return what a run notes of an LM.

    Raises:
        InputError: Its URL holds a password.
    """
    key = key_of(lm)
    return AskedLM(
        model=lm.model,
        written=as_written(lm.model),
        endpoint=endpoint_of(lm),
        account=hashlib.sha256(f"{run_id} {key}".encode()).hexdigest()[:8] if key else "",
        temperature=lm.kwargs.get("temperature"),
        max_tokens=most_tokens(lm),
        settings={name: value for name, value in lm.kwargs.items() if name not in _SAID_ELSEWHERE},
        function_calling=lm.supports_function_calling,
        response_schema=lm.supports_response_schema,
        params=tuple(sorted(lm.supported_params)),
    )


def journalled(asked: AskedLM, recorder: Recorder, role: str, lm: dspy.LM | None, price: str | None = None) -> dspy.LM:
    """Return an LM whose every call is recorded.

    Args:
        asked: What the run notes of the LM.
        recorder: The run that pays.
        role: What it is asked as: `agent`, `loss`, `revision`.
        lm: The LM itself; a replay needs none.
        price: Its price, if the table does not have it; see `prices.price_of`.
    """
    line = Line(role, asked.endpoint, asked.model, asked.account, price_of(lm, price) if lm else None)
    engine = JournalEngine(asked, recorder, line, lm)
    settings: dict[str, Any] = {**asked.settings}
    return dspy.LM(
        asked.model,
        temperature=asked.temperature,
        max_tokens=asked.max_tokens,
        **settings,
        engine=engine,
        async_engine=AsyncJournalEngine(engine),
        cache=False,
        num_retries=0,
    )


class JournalEngine:
    """DSPy's engine interface over a recorded LM."""

    def __init__(self, asked: AskedLM, recorder: Recorder, line: Line, lm: dspy.LM | None) -> None:
        self.supports_function_calling, self.supports_response_schema = asked.function_calling, asked.response_schema
        self.supported_params = frozenset(asked.params)
        self.leaves_out_what_is_refused = True
        self._recorder, self._line, self.price = recorder, line, line.price
        self._key = key_of(lm) if lm else ""
        self.lm = lm and PlainLM(with_its_key(lm))

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def complete(self, request: Request) -> Response:
        """Return the recorded response, or ask and record.

        Raises:
            dspy.LMError: The LM failed, and so did every further attempt.
            StoppedError: The budget does not allow the call, or a replay has diverged.
        """
        steps = self.steps(request)
        try:
            step = next(steps)
            while True:
                step = steps.send(self._do(step, request))
        except StopIteration as end:
            return heard(end.value)
        finally:
            steps.close()

    def stream(self, request: Request) -> Iterator[object]:
        """Yield the response when it is recorded: nobody sees what is not on disk."""
        return response_to_events(self.complete(request))

    def close(self) -> None:
        """Do nothing: the LM belongs to whoever opened it."""

    def _do(self, step: _Step, request: Request) -> _Outcome:
        if isinstance(step, Future | Turn):
            return step.result()
        if isinstance(step, float):
            return cancellation_here().stop_if_cancelled(after_seconds=step)
        try:
            return _asked(self.lm)(request)
        except dspy.LMError as error:
            return self.without_key(error)

    def without_key(self, error: dspy.LMError) -> dspy.LMError:
        """Return an error without the LM's key, which some services say back."""
        error.message = clean(without_secrets(str(error.message or type(error).__name__), self._key))
        error.args = (error.message,)
        return error

    def steps(self, request: Request) -> "Generator[_Step, _Outcome, Response]":
        """Yield what the call waits for, and return its response."""
        asked = _written(request)
        call = self._recorder.open(self._line, asked, _worst_case(request, asked, self._line.price))
        if (before := call.recorded()) is not None:
            return _again(before, self._line.model)
        patience = Patience(self.lm and self.lm.timeout)
        while True:
            yield call.reserve()
            patience.begin()
            outcome = yield from _recorded(call, self._line.price)
            if isinstance(outcome, Response):
                return outcome
            if (wait := patience.wait_after(outcome)) is None:
                raise outcome
            yield wait


class AsyncJournalEngine:
    """The same, awaited."""

    def __init__(self, engine: JournalEngine) -> None:
        self._engine = engine

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    async def complete(self, request: Request) -> Response:
        """Return the recorded response, or ask and record; raises as `JournalEngine.complete`."""
        steps = self._engine.steps(request)
        try:
            step = next(steps)
            while True:
                step = steps.send(await self._do(step, request))
        except StopIteration as end:
            return heard(end.value)
        finally:
            steps.close()

    async def stream(self, request: Request) -> AsyncIterator[object]:
        """Yield the response when it is recorded: nobody sees what is not on disk."""
        for event in response_to_events(await self.complete(request)):
            yield event

    async def aclose(self) -> None:
        """Do nothing: the LM belongs to whoever opened it."""

    async def _do(self, step: _Step, request: Request) -> _Outcome:
        if isinstance(step, Turn):
            return await step.aresult()
        if isinstance(step, Future):
            return await asyncio.wrap_future(step)
        if isinstance(step, float):
            return await asyncio.sleep(step)
        try:
            return await _asked(self._engine.lm).acall(request)
        except dspy.LMError as error:
            return self._engine.without_key(error)


def worst_case(request: Request, price: Price | None) -> Cost:
    """Return what a call may cost at most: every byte of it a token, and the longest answer that it allows."""
    return _worst_case(request, _written(request), price)


def _worst_case(request: Request, written: str, price: Price | None) -> Cost:
    # The LM's own template adds a few tokens to each message.
    prompt = len(written.encode()) + 16 * (len(request.messages) + 2)
    answer = request.config.max_tokens or LONGEST_ANSWER
    return Cost(tokens=prompt + answer, dollars=None if price is None else price.of(prompt, answer))


def _cost(response: Response, price: Price | None, call: OpenCall) -> Cost:
    prompt, answer = response.usage.input_tokens, response.usage.output_tokens
    if prompt is None or answer is None:
        return call.worst
    return Cost(tokens=prompt + answer, dollars=None if price is None else price.of(prompt, answer))


def most_tokens(lm: dspy.LM) -> int | None:
    """Return how many tokens an answer of an LM may have; None if no limit is set."""
    return lm.kwargs.get("max_tokens") or lm.kwargs.get("max_completion_tokens")


def _recorded(call: OpenCall, price: Price | None) -> "Generator[_Step, _Outcome, Response | dspy.LMError]":
    """Write down the call, ask, write down the outcome, and return it."""
    began = time.perf_counter()
    try:
        yield call.begin()
        call.stop_if_gone()
        outcome = yield _Ask()
    except BaseException:
        call.give_up()
        raise
    seconds = time.perf_counter() - began
    if isinstance(outcome, Response):
        usage = outcome.usage
        text = json.dumps(response_to_dict(outcome))
        yield call.end(text, usage.input_tokens or 0, usage.output_tokens or 0, _cost(outcome, price, call), seconds)
        return outcome
    if outcome is None:
        raise TypeError("the LM came to nothing")
    charged = Cost() if isinstance(outcome, _UNBILLED) else call.worst
    yield call.fail(Failure(kind=type(outcome).__name__, message=_message(outcome)), charged, seconds)
    return outcome


def _again(before: Attempt, model: str) -> Response:
    """Return a recorded response, or raise the recorded failure; the meter counts the seconds that it took then."""
    if isinstance(meter := dspy.settings.usage_tracker, Meter):
        meter.add_recorded_seconds(before.seconds)
    if before.response is not None:
        return response_from_dict(json.loads(before.response))
    failure = before.failure or Failure(kind=LOST, message="")
    kind: type[dspy.LMError] = getattr(exceptions, failure.kind, dspy.LMError)
    raise kind(failure.message, model=model)


def _written(request: Request) -> str:
    return json.dumps(request_to_dict(request), sort_keys=True, default=dict)


def _asked(lm: PlainLM | None) -> PlainLM:
    """Return the LM.

    Raises:
        DivergenceError: There is none: this is a replay.
    """
    if lm is None:
        raise DivergenceError("a replay asks no LM")
    return lm


def _message(error: dspy.LMError) -> str:
    return clean(error.message.partition("\n\n")[0])
