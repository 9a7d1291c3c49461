"""Decisions: an LM chooses one of several answers and says how probable each is, in one call.

DSPy sends the decision outputs of a predictor (`dspy.Choice`) to an LM that takes decision requests. `DecisionLM` makes
one of any `dspy.LM`. Probabilities come from, in this order: the LM itself (the embedded one), the log-probabilities of
the tokens that it wrote (OpenAI's `top_logprobs`), or, where it gives neither, its answer alone.
"""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, cast
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
_NUMBERED = re.compile(r"^\d+\. `(\w+)` \(\w+\)", re.MULTILINE)
"""How DSPy begins the line of an input field."""
_AGAIN = "This is not one of the answers that are allowed. Answer again, with one of them and nothing else."

_log = logging.getLogger(__name__)


class DecisionLM:
    """A decision-request client, as DSPy's predictors take it, around an LM.

    What an LM does not give is said once, in the log.

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
        if (given := given_answer(response, name, answers)) is None:
            again = (*request.messages, Message.assistant(_text(response) or "(nothing)"), Message.user(_AGAIN))
            response = without_refused(self.lm, replace(request, messages=again))
            given = given_answer(response, name, answers)
        if given is None:
            raise AnswerError(f"the LM's answer has no readable {name}: {_text(response)[:200]!r}")
        probabilities = self._probabilities(response, name, answers)
        if probabilities is None:
            probabilities = {answer: float(answer == given) for answer in answers}
        return {"probabilities": probabilities, "confidence": max(probabilities.values())}

    def _probabilities(self, response: Response, name: str, answers: Sequence[str]) -> Distribution | None:
        """Return what the LM says of its answers, if it can be used."""
        if (found := measured(response, name, answers)) is None:
            _say_once(f"{self.lm.model} gives no log-probabilities: its answers are taken as certain")
        elif _ties(found):
            _say_once(f"{self.lm.model} gives all answers the same probability: its answers are taken as certain")
            return None
        return found


def is_certain(probabilities: Distribution) -> bool:
    """Whether a distribution is an answer alone: the LM gave no probabilities."""
    return max(probabilities.values()) == 1.0


_refusing: "WeakSet[dspy.LM]" = WeakSet()


def without_refused(lm: dspy.LM, request: Request) -> Response:
    """Ask for probabilities, and without them where they were refused before.

    Args:
        lm: What it refuses is remembered for as long as it exists.
        request: May ask for probabilities.

    Raises:
        dspy.LMError: The LM failed, or refuses the request without probabilities too.
    """
    asked: Any = lm
    plain = _plain(request)
    if lm in _refusing or plain == request:
        return asked(plain)
    try:
        return asked(request)
    except dspy.LMError as error:
        if not _may_refuse_probabilities(error):
            raise
    response = asked(plain)
    _refusing.add(lm)
    return response


async def awithout_refused(lm: dspy.LM, request: Request) -> Response:
    """Do what `without_refused` does, awaited."""
    asked: Any = lm
    plain = _plain(request)
    if lm in _refusing or plain == request:
        return await asked.acall(plain)
    try:
        return await asked.acall(request)
    except dspy.LMError as error:
        if not _may_refuse_probabilities(error):
            raise
    response = await asked.acall(plain)
    _refusing.add(lm)
    return response


def _may_refuse_probabilities(error: dspy.LMError) -> bool:
    """Whether an error is what a server says of a parameter that it does not take."""
    if isinstance(error, dspy.ContextWindowExceededError):
        return False
    return isinstance(error, dspy.LMUnsupportedFeatureError) or error.status in (400, 422)


def _plain(request: Request) -> Request:
    return replace(request, config=replace(request.config, logprobs=None, probabilities=None))


def measured(response: Response, name: str, answers: Sequence[str]) -> Distribution | None:
    """Return how probable an LM finds each answer; None if it does not say.

    Args:
        response: The LM's.
        name: The field of the answer.
        answers: The answers that are allowed.
    """
    data = _data(response)
    if data is not None and data.probabilities:
        return data.probabilities.get(name)
    return answer_probabilities(written_tokens(response.logprobs, name), answers) if response.logprobs else None


def given_answer(response: Response, name: str, answers: Sequence[str]) -> str | None:
    """Return the answer that was written, None if it is not allowed; case, quotes and a full stop do not matter."""
    data = _data(response)
    written: Any = data.value if data is not None else _json(_text(response))
    if isinstance(written, dict):
        fields = cast("dict[str, Any]", written)
        written = fields.get(name, next(iter(fields.values()), ""))
    return next((answer for answer in answers if _bare(answer) == _bare(str(written))), None)


def _bare(answer: str) -> str:
    return answer.strip("\"'`. \n").casefold()


def _ties(probabilities: Distribution) -> bool:
    return len(probabilities) > 1 and max(probabilities.values()) - min(probabilities.values()) < _TIE


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _text(response: Response) -> str:
    data = _data(response)
    return json.dumps(data.value) if data is not None else response.message.text or ""


def _data(response: Response) -> DataPart | None:
    return next((part for part in response.message.parts if isinstance(part, DataPart)), None)


@cache
def _say_once(message: str) -> None:
    _log.warning(message)


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
