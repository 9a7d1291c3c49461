"""The call journal's engine: the only way to a language model in a run.

A journalled LM answers a call from the journal if its run made that call before. Otherwise the call's worst case is set
aside, the request is written down, the LM is asked, the response is written down, and only then does the caller see it.
"""

import hashlib
import json
import math
import random
import time

import dspy
from dspy._vendor.lm15.serde import request_to_dict, response_from_dict, response_to_dict
from dspy.clients.backend_selection import CLIENT_KEYS
from dspy.lm15 import Request, Response
from dspy.utils import exceptions

from ..data.call import AskedLM, Attempt, Cost, Failure, as_written
from ..data.errors import DivergenceError, without_secrets
from ..data.texts import clean
from ..lms.engines import Engine, lm_of
from ..lms.opening import endpoint_of, key_of, with_its_key
from ..lms.plain_lm import PlainLM
from ..programs.adapter import heard
from ..programs.scope import Meter, cancellation_here
from .budget import Price, price_of
from .recorder import LOST, Callee, OpenCall, Recorder

LONGEST_ANSWER = 128_000
"""Tokens that an answer may have for which no limit is set."""
MOST_ATTEMPTS = 4
"""Attempts at one call: 429, 5xx, timeouts, cut connections and replies that are no JSON are tried again."""
LONGEST_WAIT_SECONDS = 60.0

_NOTED_BY_NAME = CLIENT_KEYS | {"temperature", "max_tokens", "max_completion_tokens"}
"""Settings of an LM that say how it is reached, or that a run notes by name."""
_UNBILLED = (exceptions.LMRateLimitError, exceptions.LMAuthError, exceptions.LMInvalidRequestError)
"""What a service refuses it does not bill; whether it bills any other failure is not known."""


def asked_lm(lm: dspy.LM, run_id: str) -> AskedLM:
    """Return what a run notes of an LM."""
    key = key_of(lm)
    return AskedLM(
        model=lm.model,
        written=as_written(lm.model),
        endpoint=endpoint_of(lm),
        account=hashlib.sha256(f"{run_id} {key}".encode()).hexdigest()[:8] if key else "",
        temperature=lm.kwargs.get("temperature"),
        max_tokens=most_tokens(lm),
        settings={name: value for name, value in lm.kwargs.items() if name not in _NOTED_BY_NAME},
        function_calling=lm.supports_function_calling,
        response_schema=lm.supports_response_schema,
        params=tuple(sorted(lm.supported_params)),
    )


def journalled(asked: AskedLM, recorder: Recorder, role: str, lm: dspy.LM | None, price: str | None = None) -> dspy.LM:
    """Return an LM whose every call is recorded as one of `role`."""
    callee = Callee(role, asked.endpoint, asked.model, asked.account, price_of(lm, price) if lm else None)
    engine = JournalEngine(asked, recorder, callee, lm)
    limits = {"temperature": asked.temperature, "max_tokens": asked.max_tokens}
    return lm_of(engine, asked.model, **limits, **asked.settings, num_retries=0)


class JournalEngine(Engine):
    """DSPy's engine interface over a recorded LM."""

    def __init__(self, asked: AskedLM, recorder: Recorder, callee: Callee, lm: dspy.LM | None) -> None:
        self.supports_function_calling, self.supports_response_schema = asked.function_calling, asked.response_schema
        self.supported_params = frozenset(asked.params)
        self.leaves_out_what_is_refused = True
        self._recorder, self._callee, self.price = recorder, callee, callee.price
        self._key = key_of(lm) if lm else ""
        self._lm = lm and PlainLM(with_its_key(lm))

    def complete(self, request: Request) -> Response:
        """Return the recorded response, or ask and record.

        Raises:
            dspy.LMError: The LM failed, and so did every further attempt.
            StoppedError: The budget does not allow the call, or a replay has diverged.
        """
        written = request_json(request)
        call = self._recorder.open(self._callee, written, worst_case(request, written, self.price))
        if (recorded := call.recorded()) is not None:
            return heard(_again(recorded, self._callee.model))
        retries = Retries(self._lm and self._lm.timeout)
        while True:
            call.reserve()
            retries.begin()
            outcome = self._attempt(call, request)
            if isinstance(outcome, Response):
                return heard(outcome)
            if (wait := retries.wait_after(outcome)) is None:
                raise outcome
            cancellation_here().stop_if_cancelled(after_seconds=wait)

    def _attempt(self, call: OpenCall, request: Request) -> Response | dspy.LMError:
        """Write down the call, ask, write down the outcome, and return it."""
        began = time.perf_counter()
        try:
            call.begin()
            outcome = self._ask(request)
        except BaseException:
            call.give_up()
            raise
        seconds = time.perf_counter() - began
        if isinstance(outcome, Response):
            usage = outcome.usage
            tokens = (usage.input_tokens or 0, usage.output_tokens or 0)
            call.end(json.dumps(response_to_dict(outcome)), self._charged(outcome, call), seconds, *tokens)
        else:
            failure = Failure(kind=type(outcome).__name__, message=clean(outcome.message.partition("\n\n")[0]))
            call.fail(failure, Cost() if isinstance(outcome, _UNBILLED) else call.worst, seconds)
        return outcome

    def _ask(self, request: Request) -> Response | dspy.LMError:
        if self._lm is None:
            raise DivergenceError("a replay asks no LM")
        try:
            return self._lm(request)
        except dspy.LMError as error:  # Some services say the key back.
            error.message = clean(without_secrets(str(error.message or type(error).__name__), self._key))
            error.args = (error.message,)
            return error

    def _charged(self, response: Response, call: OpenCall) -> Cost:
        prompt, answer = response.usage.input_tokens, response.usage.output_tokens
        return call.worst if prompt is None or answer is None else _cost(prompt, answer, self.price)


class Retries:
    """The attempts at one call. None begins later than four timeouts after the first."""

    def __init__(self, timeout: float | None) -> None:
        self._longest = math.inf if timeout is None else MOST_ATTEMPTS * timeout
        self._attempts = 0
        self._began = 0.0

    def begin(self) -> None:
        """Count an attempt that begins now."""
        self._began = self._began or time.monotonic()
        self._attempts += 1

    def wait_after(self, error: dspy.LMError) -> float | None:
        """Return how many seconds to wait after a failed attempt; None if there is no other.

        As long as the service says, else twice as long each time, and never the same time for all callers.
        """
        longer = 2.0 ** (self._attempts - 1)
        wait = min(longer if error.retry_after is None else float(error.retry_after), LONGEST_WAIT_SECONDS)
        if error.retry_after is None:
            wait *= random.uniform(0.5, 1.0)
        too_late = time.monotonic() + wait - self._began > self._longest
        return None if self._attempts == MOST_ATTEMPTS or too_late or not _may_pass(error) else wait


def _may_pass(error: dspy.LMError) -> bool:
    """Whether the same call may succeed in a moment: DSPy gives up on a reply that arrived broken, but it may pass."""
    is_broken_reply = type(error) is exceptions.LMProviderError and error.status == 200
    return is_broken_reply or dspy.is_retryable_lm_error(error)


def worst_case(request: Request, written: str, price: Price | None) -> Cost:
    """Return what a call may cost at most: every byte of it a token, and the longest answer that it allows."""
    # The LM's own template adds a few tokens to each message.
    prompt = len(written.encode()) + 16 * (len(request.messages) + 2)
    return _cost(prompt, request.config.max_tokens or LONGEST_ANSWER, price)


def most_tokens(lm: dspy.LM) -> int | None:
    """Return how many tokens an answer of an LM may have; None if no limit is set."""
    return lm.kwargs.get("max_tokens") or lm.kwargs.get("max_completion_tokens")


def _cost(prompt_tokens: int, answer_tokens: int, price: Price | None) -> Cost:
    dollars = None if price is None else price.of(prompt_tokens, answer_tokens)
    return Cost(tokens=prompt_tokens + answer_tokens, dollars=dollars)


def request_json(request: Request) -> str:
    """Return a whole request as JSON with its keys in order."""
    return json.dumps(request_to_dict(request), sort_keys=True, default=dict)


def _again(recorded: Attempt, model: str) -> Response:
    """Return a recorded response, or raise the recorded failure; the meter counts the seconds that it took then."""
    if isinstance(meter := dspy.settings.usage_tracker, Meter):
        meter.add_recorded_seconds(recorded.seconds)
    if recorded.response is not None:
        return response_from_dict(json.loads(recorded.response))
    failure = recorded.failure or Failure(kind=LOST, message="")
    kind: type[dspy.LMError] = getattr(exceptions, failure.kind, dspy.LMError)
    raise kind(failure.message, model=model)
