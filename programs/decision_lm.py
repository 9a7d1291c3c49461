"""Decisions: an LM chooses one of several answers and says how probable each is, in one call.

DSPy sends the decision outputs of a predictor (`dspy.Choice`) to an LM that takes decision requests. `DecisionLM` makes
one of any `dspy.LM`. Probabilities come from, in this order: the LM itself (the embedded one), the log-probabilities of
the tokens that it wrote (OpenAI's `top_logprobs`), or, where it gives neither, its answer alone.
"""

import asyncio
import json
import math
import re
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, NamedTuple, cast

import dspy
from dspy.lm15 import Config, DataPart, Message, Request, Response, TokenLogprob, TopLogprob

from ..data.answer_weights import Distribution, normalised
from ..data.errors import AnswerError
from .adapter import CutError, bare, choice_of, cut_error, is_cut, loaded, named, object_in, without_thoughts
from .refusals import say_once, without_refused
from .scope import Meter, current_scope

MOST_ALTERNATIVES = 20
"""Alternatives asked for at each token, as many as OpenAI gives."""
_TIE = 1e-6
_NUMBERED = re.compile(r"^\d+\. `(\w+)` \(\w+\)", re.MULTILINE)
"""How DSPy begins the line of an input field."""
_AGAIN = "This is not one of the answers that are allowed. Answer again, with one of them and nothing else."


class DecisionLM:
    """A decision-request client, as DSPy's predictors take it, around an LM.

    The LM is asked once for each decision, or twice if the first answer cannot be read. What it does not give is said
    once, in the log.
    """

    supports_decision_requests = True

    def __init__(self, lm: dspy.LM) -> None:
        self.lm = lm

    def __call__(self, state: Mapping[str, Any], questions: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Return, for each question, the probability of each answer and the confidence in the most probable one.

        Raises:
            AnswerError: The LM twice wrote something else than one of the answers.
            dspy.LMError: The LM failed.
        """
        return {name: self._decided(state, name, question) for name, question in questions.items()}

    async def acall(self, state: Mapping[str, Any], questions: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Do what a call does, in a thread."""
        return await asyncio.to_thread(self, state, questions)

    def _decided(self, state: Mapping[str, Any], name: str, question: Mapping[str, Any]) -> dict[str, Any]:
        answers = tuple(question["criteria"])
        request = _request(self.lm, state, name, question["instructions"], answers)
        response = once(request, lambda asked: without_refused(self.lm, asked))
        if (given := given_answer(response, name, answers)) is None:
            response = self._asked_again(request, response)
            given = given_answer(response, name, answers)
        if given is None:
            raise AnswerError(f"the LM's answer has no readable {name}: {_text(response)[:200]!r}")
        probabilities = self._probabilities(response, name, answers)
        if probabilities is None:
            probabilities = {answer: float(answer == given) for answer in answers}
        return {"probabilities": probabilities, "confidence": max(probabilities.values())}

    def _asked_again(self, request: Request, response: Response) -> Response:
        """Ask a second time after a response that cannot be read: with twice the room if it was cut."""
        room = request.config.max_tokens
        if not is_cut(response) or room is None:
            shown = Message.assistant(_text(response) or "(nothing)")
            return without_refused(self.lm, replace(request, messages=(*request.messages, shown, Message.user(_AGAIN))))
        try:
            again = without_refused(self.lm, replace(request, config=replace(request.config, max_tokens=2 * room)))
        except dspy.LMInvalidRequestError as error:  # The server does not give so much room.
            raise AnswerError(cut_error(response, room)) from error
        if is_cut(again):
            raise AnswerError(cut_error(again, 2 * room))
        return again

    def _probabilities(self, response: Response, name: str, answers: Sequence[str]) -> Distribution | None:
        if (found := measured(response, name, answers)) is None:
            say_once(self.lm.model, "gives no log-probabilities: its answers are taken as certain")
        elif _ties(found):
            say_once(self.lm.model, "gives all answers the same probability: its answers are taken as certain")
            return None
        return found


def is_certain(probabilities: Distribution) -> bool:
    """Whether a distribution is an answer alone: the LM gave no probabilities."""
    return max(probabilities.values()) == 1.0


def measured(response: Response, name: str, answers: Sequence[str]) -> Distribution | None:
    """Return how probable an LM finds each answer; None if it does not say."""
    data = _data(response)
    if data is not None and data.probabilities:
        return data.probabilities.get(name)
    return answer_probabilities(written_tokens(response.logprobs, name), answers) if response.logprobs else None


def given_answer(response: Response, name: str, answers: Sequence[str]) -> str | None:
    """Return the answer that was written, None if it is not allowed; see `reading.choice_of`."""
    data = _data(response)
    written: Any = data.value if data is not None else _written(response, name)
    if isinstance(written, dict):
        fields = cast("dict[str, Any]", written)
        written = named(fields, [name]).get(name, next(iter(fields.values()), ""))
    return None if written is None else choice_of(str(written), answers)


def _written(response: Response, name: str) -> Any:
    """Return the JSON object of a response, else its text; None if it is cut."""
    text = without_thoughts(_text(response))
    try:
        written = object_in(text, [name])
    except CutError:
        return None
    if written is None:
        return None if is_cut(response) else bare(text, name)
    return loaded(written) or written


def _ties(probabilities: Distribution) -> bool:
    return len(probabilities) > 1 and max(probabilities.values()) - min(probabilities.values()) < _TIE


def _text(response: Response) -> str:
    data = _data(response)
    return json.dumps(data.value) if data is not None else response.message.text or ""


def _data(response: Response) -> DataPart | None:
    return next((part for part in response.message.parts if isinstance(part, DataPart)), None)


def _request(lm: dspy.LM, state: Mapping[str, Any], name: str, what: str, answers: Sequence[str]) -> Request:
    """Write the decision down: what never changes first, for an LM's prefix cache, and the question last."""
    given = _NUMBERED.sub(r"- \1", state["input_fields"])
    listed = ", ".join(json.dumps(answer, ensure_ascii=False) for answer in answers)
    form = f'Answer with one JSON object: {{"{name}": "..."}}\nThe {name} is {what}, one of: {listed}'
    system = f"You are given:\n{given}\n\n{form}\n\n{state['instructions']}"
    messages = [turn for demo in state.get("demos", ()) for turn in _demo(demo, state["inputs"], name)]
    schema = {
        "type": "object",
        "properties": {name: {"type": "string", "enum": list(answers)}},
        "required": [name],
        "additionalProperties": False,
    }
    formatted: Any = {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}
    takes_schemas = lm.supports_response_schema
    temperature = lm.kwargs.get("temperature")
    return Request(
        model=lm.model,
        system=system,
        messages=(*messages, Message.user(_inputs(state["inputs"]))),
        config=Config(
            max_tokens=lm.kwargs.get("max_tokens") or lm.kwargs.get("max_completion_tokens"),
            temperature=None if temperature is None else float(temperature),
            response_format=formatted if takes_schemas else None,
            logprobs=MOST_ALTERNATIVES,
            probabilities="if_available" if takes_schemas else None,
        ),
    )


def _demo(demo: Mapping[str, Any], inputs: Mapping[str, Any], name: str) -> tuple[Message, ...]:
    """Return a demo as two turns; one without an answer shows nothing."""
    given = {field: demo[field] for field in inputs if field in demo}
    if not given or name not in demo:
        return ()
    answer = demo[name]
    if isinstance(answer, Mapping):
        answer = cast("Mapping[str, Any]", answer)["value"]
    return Message.user(_inputs(given)), Message.assistant(json.dumps({name: str(answer)}, ensure_ascii=False))


def _inputs(inputs: Mapping[str, Any]) -> str:
    return "\n\n".join(f"[[ ## {name} ## ]]\n{value}" for name, value in inputs.items())


LEAST_SHARE = 0.02
"""Answers that share less probability than this are not told apart: each gets the same part of it."""

NextTokens = Callable[[bytes], Mapping[bytes, float]]
"""Returns the likeliest next tokens when this much of the answer is written, with their probabilities; none if the LM
cannot be asked there."""


def answer_probabilities(next_tokens: NextTokens, answers: Sequence[str]) -> Distribution | None:
    """Return how probable each answer is; None if none of them is among the likeliest tokens.

    Answers that begin with the same token are told apart by the tokens after it.

    Args:
        next_tokens: What may come next in a JSON text, after its opening quote.
        answers: The answers, all different.
    """
    rest = {answer: json.dumps(answer, ensure_ascii=False)[1:-1].encode() for answer in answers}
    masses = dict.fromkeys(answers, 0.0)
    if not any(_begun_by(token, rest) for token in next_tokens(b"")):
        return None
    _spread(next_tokens, b"", rest, 1.0, masses)
    return normalised(masses)


def written_tokens(tokens: Sequence[TokenLogprob], name: str) -> NextTokens:
    """Return what could have come at each place of a text that an LM wrote.

    Args:
        tokens: The text, each token with its likeliest alternatives.
        name: The field of the JSON object that holds the answer; a text without it is the answer itself.
    """
    written = b"".join(map(_bytes, tokens))
    found = re.search(rb'"%s"\s*:\s*"' % re.escape(name.encode()), written)
    start, end = found.end() if found else 0, 0
    alternatives: dict[bytes, dict[bytes, float]] = {}
    for token in tokens:
        begin, end = end, end + len(_bytes(token))
        if end <= start:
            continue
        before = _bytes(token)[: max(start - begin, 0)]
        alternatives[written[start : max(begin, start)]] = {
            _bytes(likely).removeprefix(before): math.exp(likely.logprob)
            for likely in (*token.top, token)
            if _bytes(likely).startswith(before)
        }
    return lambda begun: alternatives.get(begun, {})


def _spread(
    next_tokens: NextTokens, begun: bytes, rest: Mapping[str, bytes], share: float, masses: Distribution
) -> None:
    """Add to `masses` what each answer has of `share`; `rest` is what is still to be written of each."""
    found = [
        (token, probability, agreeing)
        for token, probability in next_tokens(begun).items()
        if (agreeing := _begun_by(token, rest))
    ]
    if not found:
        for answer in rest:
            masses[answer] += share / len(rest)
    total = sum(probability for _, probability, _ in found)
    for token, probability, agreeing in found:
        part = share * probability / total
        if len(agreeing) > 1 and part >= LEAST_SHARE:
            _spread(next_tokens, begun + token, agreeing, part, masses)
        else:
            for answer in agreeing:
                masses[answer] += part / len(agreeing)


def _begun_by(token: bytes, rest: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the answers that may go on with `token`, each with what is left of it; a quote ends an answer."""
    return {
        answer: left[len(token) :]
        for answer, left in rest.items()
        if token and ((left + b'"}').startswith(token) or token.startswith(left + b'"'))
    }


def _bytes(token: TokenLogprob | TopLogprob) -> bytes:
    return bytes(token.bytes) if token.bytes else token.token.encode()


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
