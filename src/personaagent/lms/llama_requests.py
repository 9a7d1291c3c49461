"""DSPy's requests as llama.cpp takes them, and its answers as DSPy takes them."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from dspy.lm15 import (
    ContextLengthError,
    DataPart,
    InvalidRequestError,
    Message,
    Request,
    Response,
    ServerError,
    TextPart,
    UnsupportedFeatureError,
    Usage,
)

from ..data.call import ANSWER_TOKENS

MOST_ITEMS = 8
"""Length of a list for which the schema sets no other limit."""
SEED = 1


def choice_of(request: Request) -> tuple[str, list[str]] | None:
    """Return the field whose answer is one of several texts, and these; None if the request asks for anything else."""
    wanted: Any = request.config.response_format or {}
    fields = wanted.get("schema", {}).get("properties", {})
    if len(fields) != 1:
        return None
    [(name, field)] = fields.items()
    return (name, list(field["enum"])) if "enum" in field else None


def body_of(request: Request) -> dict[str, Any]:
    """Return the body of a chat completion."""
    config = request.config
    if request.tools:
        raise UnsupportedFeatureError("the embedded LM has no native tool calls", feature="tools")
    options = {
        "temperature": config.temperature or 0.0,
        "max_tokens": config.max_tokens or ANSWER_TOKENS,
        "seed": SEED if config.seed is None else config.seed,
        "stop": list(config.stop),
        "top_p": config.top_p,
        "top_k": config.top_k,
        "frequency_penalty": config.frequency_penalty,
        "presence_penalty": config.presence_penalty,
        "response_format": _response_format(config.response_format),
    }
    return {"messages": _messages(request), **{name: value for name, value in options.items() if value is not None}}


def _messages(request: Request) -> list[dict[str, str]]:
    system = [{"role": "system", "content": _text(request.system)}] if request.system else []
    roles = {"developer": "system"}
    return system + [
        {"role": roles.get(each.role, each.role), "content": _text(each.parts)} for each in request.messages
    ]


def _text(content: "str | tuple[Any, ...]") -> str:
    if isinstance(content, str):
        return content
    if other := [part.type for part in content if not isinstance(part, TextPart)]:
        raise UnsupportedFeatureError(f"the embedded LM reads text, not {other[0]}", feature="messages")
    return "".join(part.text for part in content)


def _response_format(wanted: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not wanted or wanted.get("type") != "json_schema":
        return {"type": "json_object"} if wanted else None
    # DSPy's form is flat and read-only; llama.cpp silently ignores a schema that is not nested like this.
    schema = json.loads(json.dumps(wanted["schema"], default=dict), object_hook=_bounded)
    return {
        "type": "json_schema",
        "json_schema": {"name": wanted.get("name", "answer"), "schema": schema, "strict": True},
    }


def _bounded(schema: dict[str, Any]) -> dict[str, Any]:
    """Bound a list that has no bound: small models go on until they may no longer."""
    return {"maxItems": MOST_ITEMS, **schema} if schema.get("type") == "array" else schema


def response_of(answer: Mapping[str, Any], model: str) -> Response:
    """Return the answer of a chat completion."""
    choice, usage = answer["choices"][0], answer["usage"]
    return Response(
        id=answer["id"],
        model=model,
        message=Message.assistant([TextPart(choice["message"]["content"] or "")]),
        finish_reason="length" if choice["finish_reason"] == "length" else "stop",
        usage=Usage(
            input_tokens=usage["prompt_tokens"],
            output_tokens=usage["completion_tokens"],
            cache_read_tokens=usage.get("prompt_tokens_details", {}).get("cached_tokens"),
        ),
    )


def piece_of(chunk: Mapping[str, Any]) -> str:
    """Return the text of a chunk of a streamed chat completion."""
    return "".join(choice["delta"].get("content") or "" for choice in chunk.get("choices", ()))


def whole_of(chunks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a streamed chat completion would be in one piece."""
    for chunk in chunks:
        if error := chunk.get("error"):
            raise_as_dspy(error)
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"] if choice["finish_reason"]]
    message = {"content": "".join(map(piece_of, chunks))}
    return {**chunks[-1], "choices": [{"message": message, "finish_reason": reasons[-1]}]}


def next_tokens_of(answer: Mapping[str, Any]) -> dict[bytes, float]:
    """Return the likeliest next tokens with their probabilities, where one was asked for."""
    [position] = answer["choices"][0]["logprobs"]["content"]
    return {bytes(token["bytes"]): math.exp(token["logprob"]) for token in position["top_logprobs"]}


def decision_of(
    field: str, probabilities: dict[str, float], positions: Sequence[Mapping[str, Any]], model: str
) -> Response:
    """Return the probabilities of a field's answers, which the model was asked for at these positions."""
    value: Any = {field: max(probabilities, key=probabilities.__getitem__)}
    decision = DataPart(value=value, probabilities={field: probabilities}, method="candidate_sequence_likelihood")
    first = positions[0]["usage"]
    return Response(
        id=positions[0]["id"],
        model=model,
        message=Message.assistant([decision]),
        finish_reason="stop",
        usage=Usage(
            input_tokens=first["prompt_tokens"],
            output_tokens=len(positions),
            cache_read_tokens=first.get("prompt_tokens_details", {}).get("cached_tokens"),
        ),
    )


def raise_as_dspy(error: Mapping[str, Any]) -> NoReturn:
    """Raise what llama.cpp says went wrong, as DSPy expects it of an engine."""
    status, message = int(error["code"]), str(error["message"])
    if error.get("type") == "exceed_context_size_error":
        raise ContextLengthError(
            f"the prompt has {error['n_prompt_tokens']} tokens, and the embedded LM reads {error['n_ctx']}: "
            "give it fewer or shorter inputs, or ask another LM",
            status=status,
        )
    if status == 501:
        raise UnsupportedFeatureError(message, status=status)
    if 400 <= status < 500:
        raise InvalidRequestError(message, status=status)
    raise ServerError(message, status=status)
