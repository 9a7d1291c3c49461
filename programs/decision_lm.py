"""Decisions: an LM chooses one of several answers and says how probable each is, in one call.

DSPy sends the decision outputs of a predictor (`dspy.Choice`) to an LM that takes decision requests. `DecisionLM` makes
one of any `dspy.LM`. Probabilities come from, in this order: the LM itself (the embedded one), the log-probabilities of
the tokens that it wrote (OpenAI's `top_logprobs`), or, where it gives neither, its answer alone.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import dspy
from dspy.lm15 import Config, DataPart, Message, Request, Response

from ..data.answer_weights import Distribution
from ..data.errors import AnswerError
from .adapter import CutError, bare, choice_of, loaded, named, object_in, without_thoughts
from .answer_tokens import answer_probabilities, written_tokens
from .heard import cut_error, is_cut
from .refusals import say_once, without_refused
from .shared_decisions import once

MOST_ALTERNATIVES = 20
"""Alternatives asked for at each token, as many as OpenAI gives."""
_TIE = 1e-6
_NUMBERED = re.compile(r"^\d+\. `(\w+)` \(\w+\)", re.MULTILINE)
"""How DSPy begins the line of an input field."""
_AGAIN = "This is not one of the answers that are allowed. Answer again, with one of them and nothing else."


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
        """Return what the LM says of its answers, if it can be used."""
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
