"""The base of all modules: a plain DSPy module that knows its spend and raises PersonaAgent's errors."""

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import dspy
from dspy.utils.exceptions import AdapterParseError

from ..data.errors import AnswerError, SetupError
from ..data.persona import SECTIONS, Persona, Section
from ..data.statement import Memory
from .adapter import TerseJSONAdapter, cut_error, is_cut, last_heard, only_thoughts
from .lm_errors import lm_errors
from .scope import Cancellation, cancellation_here, measure, within

_TERSE = TerseJSONAdapter()
_THREADS = ThreadPoolExecutor(64, thread_name_prefix="program")
"""Apart from the event loop's own threads: a program may take minutes, and short work must not wait for it."""
_SHOWN_CHARACTERS = 2000
_REPAIR = "your earlier answer, which is not in the form that is asked for: answer again, in that form"

_GOODBYE_SECONDS = 10.0
"""How long cancelled work may go on with the call that is under way: it is paid for, and worth recording."""

Result = TypeVar("Result")


class Module(dspy.Module):
    """A `dspy.Module` whose predictions have their `spend`, and whose LM errors are PersonaAgent's.

    What a module asks the LM is recorded with the user whose memory the module has, as its attribute `memory` or as an
    argument of that name.

    Subclasses write `forward` with named arguments and call their predictors with `ask`. Where no adapter is
    configured, answers are asked for as JSON: every LM that can be held to a schema then is.
    """

    forward: Callable[..., dspy.Prediction]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "forward" in vars(cls):
            cls.forward = _measured(cls.forward)

    async def aforward(self, **inputs: Any) -> dspy.Prediction:
        """Run `forward` in a thread; see `in_thread`."""
        return await in_thread(self.forward, **inputs)


def ask(predictor: dspy.Predict, **inputs: Any) -> dspy.Prediction:
    """Return a predictor's answer. If it cannot be read, the LM is asked once more.

    An answer that was cut gets twice the room. Else the LM is shown what it wrote.

    Raises:
        AnswerError: The second answer was cut, or cannot be read, either.
        StoppedError: The work that this is part of was cancelled; see `in_thread`.
    """
    cancellation_here().stop_if_cancelled()
    last_heard.set(None)
    try:
        return predictor(**inputs)
    except AdapterParseError as error:
        unreadable, first = error, last_heard.get()
    if is_cut(first) and (room := _twice_the_room(inputs.get("lm") or predictor.lm or dspy.settings.lm)):
        return _with_more_room(predictor, inputs, room)
    shown = "(nothing)" if only_thoughts(first) else unreadable.lm_response[:_SHOWN_CHARACTERS]
    signature = unreadable.signature.append("unreadable_answer", dspy.InputField(desc=_REPAIR), str)
    try:
        return predictor(**{**inputs, "signature": signature, "unreadable_answer": shown})
    except AdapterParseError as error:
        raise _no_answer(error) from error


def _with_more_room(predictor: dspy.Predict, inputs: dict[str, Any], room: dict[str, int]) -> dspy.Prediction:
    [most_tokens] = room.values()
    try:
        return predictor(**inputs, config=room)
    except AdapterParseError as error:
        if is_cut(last_heard.get()):
            raise AnswerError(cut_error(last_heard.get(), most_tokens)) from error
        raise _no_answer(error) from error
    except dspy.LMInvalidRequestError as error:  # The server does not give so much room.
        raise AnswerError(cut_error(last_heard.get(), most_tokens // 2)) from error


def _twice_the_room(lm: Any) -> dict[str, int] | None:
    """Return the setting by which an answer of an LM may be twice as long; None if it has no limit of ours."""
    settings: dict[str, Any] = getattr(lm, "kwargs", {})
    name = next((name for name in ("max_tokens", "max_completion_tokens") if settings.get(name)), None)
    return None if name is None else {name: 2 * settings[name]}


def _no_answer(error: AdapterParseError) -> AnswerError:
    if only_thoughts(last_heard.get()):
        return AnswerError("the LM wrote no answer, nothing but thoughts: ask again, or another LM")
    fields = ", ".join(error.signature.output_fields)
    return AnswerError(f"the LM's answer has no readable {fields}: {error.lm_response[:200]!r}")


async def in_thread(work: Callable[..., Result], *args: Any, **inputs: Any) -> Result:
    """Do work in a thread, with the context of the caller.

    When the caller is cancelled, the work makes no other LM call. The one under way may end within some seconds, and is
    recorded then.
    """
    cancellation, context = Cancellation(), contextvars.copy_context()

    def cancellable() -> Result:
        with cancellation.inside():
            return work(*args, **inputs)

    done = asyncio.get_running_loop().run_in_executor(_THREADS, context.run, cancellable)
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        cancellation.cancel()
        await asyncio.wait([done], timeout=_GOODBYE_SECONDS)
        cancellation.cut()
        await asyncio.wait([done])
        if not done.cancelled():
            done.exception()  # Where nobody takes it, asyncio logs it, with an LM's words in it.
        raise


def _measured(forward: Callable[..., dspy.Prediction]) -> Callable[..., dspy.Prediction]:
    @wraps(forward)
    def measured(self: Module, **inputs: Any) -> dspy.Prediction:
        memory: Memory | None = inputs.get("memory", getattr(self, "memory", None))
        whose = within(user_key=None if memory is None else memory.user_key)
        with whose, measure() as meter, dspy.context(adapter=dspy.settings.adapter or _TERSE), lm_errors():
            prediction = forward(self, **inputs)
        prediction.spend = meter.spend
        return prediction

    return measured


def model_here() -> str:
    """Return the name of the context's LM."""
    lm = dspy.settings.lm
    if lm is None:
        raise SetupError("no LM is configured: do this inside `with home.run():` or `with dspy.context(lm=...):`")
    return lm.model


_in_use: WeakValueDictionary[tuple[type[dspy.Signature], str], type[dspy.Signature]] = WeakValueDictionary()
"""Signatures by their base and instructions: many users begin with the same persona, and one takes 3 ms to derive."""


class SpeakingModule(Module):
    """One predictor whose instructions are persona + contract, always derived from the same base signature.

    Deriving a signature from an earlier derivation makes DSPy's chain of field copies grow until it fails (after about
    140 generations); deriving from the base keeps it at one.

    Args:
        base: The signature whose docstring is the contract.
        sections: Those of the persona that the module can act on; they follow the contract, which all users share. None
            puts the whole persona before it, as the paper does.
    """

    def __init__(self, base: type[dspy.Signature], sections: Sequence[Section] | None = None) -> None:
        super().__init__()
        self.base, self.sections = base, sections
        self.predict = dspy.Predict(base)

    def speak_under(self, persona: Persona) -> None:
        """Replace the instructions by `persona` and the contract."""
        if self.sections is None:
            instructions = f"{persona.text}\n\n{self.base.instructions}"
        else:
            instructions = f"{self.base.instructions}\n\n{persona.text_of(self.sections)}".rstrip()
        if (derived := _in_use.get((self.base, instructions))) is None:
            derived = _in_use[self.base, instructions] = self.base.with_instructions(instructions)
        self.predict.signature = derived

    def add_lines(self, persona: Persona) -> None:
        """Let the lines of `persona` follow the instructions that another optimizer wrote."""
        if lines := persona.text_of(SECTIONS if self.sections is None else self.sections):
            signature = self.predict.signature
            self.predict.signature = signature.with_instructions(f"{signature.instructions}\n\n{lines}")
