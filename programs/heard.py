"""The last response of an LM in this place, whole: DSPy hands on its text, and not why it ended."""

from contextvars import ContextVar

from dspy.lm15 import Response

_last: ContextVar[Response | None] = ContextVar("personaagent_last_response", default=None)


def heard(response: Response) -> Response:
    """Note a response and return it; engines call this."""
    _last.set(response)
    return response


def last_heard() -> Response | None:
    """Return the last response that was noted in this context since `forget_heard`; None if none was."""
    return _last.get()


def forget_heard() -> None:
    """Forget the last response."""
    _last.set(None)


def is_cut(response: Response | None) -> bool:
    """Whether a response ended because it came to the most tokens that it may have."""
    return response is not None and response.finish_reason == "length"


def only_thoughts(response: Response | None) -> bool:
    """Whether a response says nothing."""
    return response is not None and not (response.message.text or "").strip()


def cut_error(response: Response | None, most_tokens: int | None) -> str:
    """Return what to say of an answer that was cut twice.

    Args:
        response: The second time's.
        most_tokens: The most that it could have.
    """
    where = f"at {most_tokens:,} tokens" if most_tokens else "before its end"
    thoughts = ", while the LM was still thinking" if only_thoughts(response) else ""
    return f"the answer was cut {where}{thoughts}: set PERSONAAGENT_MAX_ANSWER_TOKENS (--max-answer-tokens) to more"
