"""How a module is written once and runs both ways.

A module's `body` is a generator: it yields the calls that it makes (predictors, other modules, plain functions) and is
sent their results. `forward` makes each call and waits; `aforward` awaits it. A tuple of calls may be made at once.

    class Greet(DrivenModule):
        def body(self, *, name: str) -> Body[dspy.Prediction]:
            greeting = yield Call(self.predict, {"name": name})
            return dspy.Prediction(response=greeting.text)
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import dspy
from dspy.utils.exceptions import AdapterParseError

from ..data.errors import AnswerError, LMError, StoppedError
from .adapter import TerseJSONAdapter
from .lm_errors import lm_errors
from .repair import repairing
from .scope import within
from .spend import measure

_TERSE = TerseJSONAdapter()
_BESIDE = ThreadPoolExecutor(32, thread_name_prefix="beside")
_HEAD_START_SECONDS = 0.01
"""What a plain function gives the module beside it: the LM is asked first, and works while the function does."""


class Call(NamedTuple):
    """One call that a body wants made."""

    target: Callable[..., Any]
    """A module or a predictor; or a plain function, which runs no body."""
    inputs: dict[str, Any]
    place: tuple[str, ...] = ()
    """Where in the work it is made; see `scope.within`. Calls of one tuple that may say the same need places."""


Result = TypeVar("Result")
Body = Generator[Call | tuple[Call, ...], Any, Result]


class DrivenModule(dspy.Module):
    """A `dspy.Module` whose `body` serves `forward` and `aforward` alike, and whose predictions know their spend.

    Where no adapter is configured, answers are asked for as JSON: every LM that can be held to a schema then is.
    """

    body: Callable[..., Body[dspy.Prediction]]
    """Each module's own: yields the calls that turn the inputs into a prediction, and returns it."""

    def forward(self, **inputs: Any) -> dspy.Prediction:
        """Run the body, one call after another."""
        with measure() as meter, dspy.context(adapter=dspy.settings.adapter or _TERSE):
            prediction = run(self.body(**inputs))
        prediction.spend = meter.spend
        return prediction

    async def aforward(self, **inputs: Any) -> dspy.Prediction:
        """Run the body, awaiting each call and making those of a tuple at once."""
        with measure() as meter, dspy.context(adapter=dspy.settings.adapter or _TERSE):
            prediction = await arun(self.body(**inputs))
        prediction.spend = meter.spend
        return prediction


def run(body: Body[Result]) -> Result:
    """Make every call of `body` in order, in this thread; plain functions of a tuple beside its other calls.

    Raises:
        LMError: A language model could not be reached or refused the call.
        AnswerError: A language model did not answer in the form that was asked for, twice, and the body let it pass.
        StoppedError: The run that this is part of may make no more calls, and the body let it pass.
    """
    try:
        wanted = next(body)
        while True:
            try:
                results = _made(_calls(wanted))
            except (LMError, AnswerError, StoppedError) as error:
                wanted = body.throw(error)
            else:
                wanted = body.send(results[0] if isinstance(wanted, Call) else results)
    except StopIteration as end:
        return end.value


async def arun(body: Body[Result]) -> Result:
    """Await every call of `body`, those of a tuple concurrently. Raises what `run` raises."""
    try:
        wanted = next(body)
        while True:
            results = await asyncio.gather(*map(_await, _calls(wanted)), return_exceptions=True)
            failures = [result for result in results if isinstance(result, BaseException)]
            if failures and isinstance(failures[0], LMError | AnswerError | StoppedError):
                wanted = body.throw(failures[0])
            elif failures:
                raise failures[0]
            else:
                wanted = body.send(results[0] if isinstance(wanted, Call) else results)
    except StopIteration as end:
        return end.value


def _calls(wanted: Call | tuple[Call, ...]) -> tuple[Call, ...]:
    return (wanted,) if isinstance(wanted, Call) else wanted


def _made(calls: tuple[Call, ...]) -> list[Any]:
    """Make calls in order; a plain function that stands beside others is made meanwhile, in a thread of its own."""
    if len(calls) == 1:
        return [_make(calls[0])]
    others_are_made = threading.Event()
    begun = {
        place: _BESIDE.submit(contextvars.copy_context().run, _make_beside, call, others_are_made)
        for place, call in enumerate(calls)
        if not isinstance(call.target, dspy.Module)
    }
    try:
        made = {place: _make(call) for place, call in enumerate(calls) if place not in begun}
    finally:
        others_are_made.set()
        wait(begun.values())
    return [begun[place].result() if place in begun else made[place] for place in range(len(calls))]


def _make_beside(call: Call, others_are_made: threading.Event) -> Any:
    others_are_made.wait(_HEAD_START_SECONDS)
    return _make(call)


def _make(call: Call) -> Any:
    with _our_errors(), within(*call.place):
        try:
            return call.target(**call.inputs)
        except AdapterParseError as unreadable:
            return call.target(**repairing(unreadable, call.inputs))


async def _await(call: Call) -> Any:
    acall = getattr(call.target, "acall", None)
    with _our_errors(), within(*call.place):
        if acall is None:
            return await asyncio.to_thread(call.target, **call.inputs)
        try:
            return await acall(**call.inputs)
        except AdapterParseError as unreadable:
            return await acall(**repairing(unreadable, call.inputs))


@contextmanager
def _our_errors() -> Generator[None]:
    """Let no error of DSPy's language models and adapters out under its own name."""
    try:
        with lm_errors():
            yield
    except AdapterParseError as error:
        fields = ", ".join(error.signature.output_fields)
        raise AnswerError(f"the LM's answer has no readable {fields}: {error.lm_response[:200]!r}") from error
