"""Decisions: an LM chooses one of several answers and says how probable each is, in one call.

DSPy sends the decision outputs of a predictor (`dspy.Choice`) to an LM that takes decision requests. `DecisionLM` makes
one of any `dspy.LM`. Probabilities come from, in this order: the LM itself (the embedded one), the log-probabilities of
the tokens that it wrote (OpenAI's `top_logprobs`), or, where it gives neither, its answer alone.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol
from weakref import WeakSet

import dspy
from dspy.lm15 import Config, DataPart, Message, Request, Response

from ..data.answer_weights import Distribution
from ..data.errors import AnswerError
from .answer_tokens import answer_probabilities, written_tokens
from .shared_decisions import once

MOST_ALTERNATIVES = 20
"""Alternatives asked for at each token, as many as OpenAI gives."""
_TIE = 1e-6
_AGAIN = "This is not one of the answers that are allowed. Answer again, with one of them and nothing else."

_log = logging.getLogger(__name__)


class AskingLM(Protocol):
    """What `without_refused` asks: an LM, or its server."""

    def __call__(self, request: Request, /) -> Response:
        """Return the response."""
        ...


class DecisionLM:
    """A decision-request client, as DSPy's predictors take it, around an LM.

    Args:
        lm: Is asked once for each decision, or twice if the first answer cannot be read.

    Example:
        >>> predict = dspy.Predict(AnswerQuery)
        >>> predict(lm=DecisionLM(dspy.settings.lm), query="...").response.probabilities
        {'comedy': 0.7, 'classic': 0.3}
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
        import asyncio

        return await asyncio.to_thread(self, state, questions)

    def _decided(self, state: Mapping[str, Any], name: str, question: Mapping[str, Any]) -> dict[str, Any]:
        answers = tuple(question["criteria"])
        request = _request(self.lm, state, name, question["instructions"], answers)
        response = once(request, lambda asked: without_refused(self.lm, asked))
        measured = measured_of(response, name, answers)
        if measured is None:
            written = _text(response)
            again = (*request.messages, Message.assistant(written or "(nothing)"), Message.user(_AGAIN))
            response = without_refused(self.lm, replace(request, messages=again))
            measured = measured_of(response, name, answers)
        if measured is None:
            raise AnswerError(f"the LM's answer has no readable {name}: {_text(response)[:200]!r}")
        return {"probabilities": measured, "confidence": max(measured.values())}


def is_certain(probabilities: Distribution) -> bool:
    """Whether a distribution is an answer alone: the LM gave no probabilities."""
    return max(probabilities.values()) == 1.0


_refusing: "WeakSet[Any]" = WeakSet()


def without_refused(ask: "dspy.LM | AskingLM", request: Request) -> Response:
    """Ask for probabilities, and without them where they were refused before.

    Args:
        ask: The LM. What it refuses is remembered for as long as it exists.
        request: May ask for probabilities.

    Raises:
        dspy.LMError: The LM failed, or refuses the request without probabilities too.
    """
    call: Callable[[Request], Any] = ask
    plain = replace(request, config=replace(request.config, logprobs=None, probabilities=None))
    if plain == request or ask in _refusing:
        return call(plain)
    try:
        return call(request)
    except (dspy.LMUnsupportedFeatureError, dspy.LMInvalidRequestError) as refused:
        response = call(plain)
        _refusing.add(ask)
        _log.warning("%s gives no log-probabilities: its answers are taken as certain", refused.model or request.model)
        return response


def measured_of(response: Response, name: str, answers: Sequence[str]) -> Distribution | None:
    """Return how probable an LM finds each answer; 1 for the one that it gave where it does not say.

    Args:
        response: The LM's.
        name: The field of the answer.
        answers: The answers that are allowed.

    Returns:
        The distribution; None if the response is none of the answers.
    """
    data = next((part for part in response.message.parts if isinstance(part, DataPart)), None)
    found: Distribution | None = None
    if data is not None and data.probabilities:
        found = data.probabilities.get(name)
    elif response.logprobs:
        found = answer_probabilities(written_tokens(response.logprobs, name), answers)
    if found and not _ties(found):
        return found
    given = _given(response, data, name, answers)
    if given is None:
        return None
    if found:
        _log.warning("%s gives every answer the same probability: its answers are taken as certain", response.model)
    return {answer: float(answer == given) for answer in answers}


def _ties(probabilities: Distribution) -> bool:
    return len(probabilities) > 1 and max(probabilities.values()) - min(probabilities.values()) < _TIE


def _given(response: Response, data: DataPart | None, name: str, answers: Sequence[str]) -> str | None:
    """Return the answer that was written; case, quotes and a full stop around it do not matter."""
    written: Any = data.value if data is not None else _json(_text(response))
    value = written.get(name, next(iter(written.values()), "")) if isinstance(written, dict) else written
    bare = str(value).strip().strip("\"'`").rstrip(".").strip().casefold()
    return next((answer for answer in answers if answer.casefold() == bare), None)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _text(response: Response) -> str:
    data = next((part for part in response.message.parts if isinstance(part, DataPart)), None)
    return json.dumps(data.value) if data is not None else response.message.text or ""


def _request(lm: dspy.LM, state: Mapping[str, Any], name: str, what: str, answers: Sequence[str]) -> Request:
    """Write the decision down: what never changes first, for an LM's prefix cache, and the question last."""
    listed = ", ".join(json.dumps(answer, ensure_ascii=False) for answer in answers)
    form = f'Answer with one JSON object: {{"{name}": ...}}. {name} is {what}, one of {listed}.'
    system = f"You are given:\n{state['input_fields']}\n\n{form}\n\n{state['instructions']}"
    messages = [turn for demo in state.get("demos", ()) for turn in _demo(demo, state["inputs"], name)]
    schema = {
        "type": "object",
        "properties": {name: {"type": "string", "enum": list(answers)}},
        "required": [name],
        "additionalProperties": False,
    }
    formatted = {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}
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


def _demo(demo: Mapping[str, Any], inputs: Mapping[str, Any], name: str) -> tuple[Message, Message]:
    answer = demo.get(name, "")
    value = answer.get("value", "") if isinstance(answer, Mapping) else answer
    given = {field: demo[field] for field in inputs if field in demo}
    return Message.user(_inputs(given)), Message.assistant(json.dumps({name: str(value)}, ensure_ascii=False))


def _inputs(inputs: Mapping[str, Any]) -> str:
    return "\n\n".join(f"[[ ## {name} ## ]]\n{value}" for name, value in inputs.items())
