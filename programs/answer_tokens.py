"""The probability of each answer, from the probabilities of an LM's tokens."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence

from dspy.lm15 import TokenLogprob, TopLogprob

from ..data.answer_weights import Distribution, normalised

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
            _bytes(one).removeprefix(before): math.exp(one.logprob)
            for one in (*token.top, token)
            if _bytes(one).startswith(before)
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
