"""A paid call as the journal keeps it: what was asked for whom, and how each attempt ended."""

import re
from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from .nouns import Noun

ANSWER_TOKENS = 512
"""Length of an answer where nothing else is said: small models ramble."""
ANSWER_SECONDS = 120.0
"""How long a whole answer may take: some LMs think for minutes, and one that never ends must not hold up a run."""


def both(first: float | None, second: float | None) -> float | None:
    """Return the dollars of two together; None if those of one are not known."""
    return None if first is None or second is None else first + second


class Cost(Noun):
    """What a call may cost, or did: what a budget counts."""

    calls: int = 1
    tokens: int = 0
    """Prompt and answer together."""
    dollars: float | None = 0.0
    """None where the price is not known."""

    def __add__(self, other: "Cost") -> "Cost":
        """Return both together."""
        dollars = both(self.dollars, other.dollars)
        return Cost(calls=self.calls + other.calls, tokens=self.tokens + other.tokens, dollars=dollars)


NOTHING = Cost(calls=0)


class AskedLM(Noun):
    """Which LM plays a role in a run: all that a request to it depends on, and no key."""

    model: str
    written: str = ""
    """The model's name as the user wrote it; empty in a run of an earlier release."""
    endpoint: str
    account: str
    """A hash that tells keys apart within the run, and does not reveal them."""
    temperature: float | None
    max_tokens: int | None
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    """Everything else that it is asked with, `top_p` say."""
    function_calling: bool
    response_schema: bool
    params: tuple[str, ...]


class Run(Noun):
    """One piece of paid work, which may be interrupted and taken up again under its id."""

    run_id: str
    command: str
    """What it does: `align`, `evaluate`, `ask`, `demo`, or a name that its caller gave it."""
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    """What it does it with: all that is needed to do it again, and no user id."""
    lms: dict[str, AskedLM] = Field(default_factory=dict)
    started_at: datetime


class RunEnd(Noun):
    """How a run, or one stretch of an interrupted run, came to its end."""

    status: Literal["finished", "stopped", "failed"]
    """`stopped`: its budget did not allow more; `failed`: an error ended it. Both can be taken up again."""
    reason: str = ""
    result: str | None = None
    """A hash of what it came to, by which a replay is judged."""
    at: datetime


class Call(Noun):
    """One attempt at a call to a language model or to a tool of the outer world, before its answer is known."""

    run_id: str
    key: str
    """A hash of the run, the user, the role, the place, the endpoint, the model, the request and the ordinal."""
    user_key: str
    """A hash of the user's id; empty if the call was for no user."""
    role: str
    """What it was asked as: `agent`, `loss`, `revision`, or `tool`."""
    place: str
    """Where in the run: `iteration 1/interaction m3`, for instance."""
    endpoint: str
    model: str
    ordinal: int
    """1 for the first such call in its place; a repetition of the very same call is the next."""
    number: int = 1
    """1 for the first attempt at the call, 2 for the one that is made because the first failed."""
    request: str
    """The whole request as JSON, without any key."""
    worst: Cost
    at: datetime


class Part(Noun):
    """What one process does of a run that several do together: one user's work in one place."""

    user_key: str
    place: str
    """Where the work is: `LaMP-2M/rag` has `LaMP-2M/rag/preparation` in it, and not `LaMP-2M/rag:k=8/preparation`."""

    def holds(self, call: Call) -> bool:
        """Whether a call was made by this part of its run."""
        return call.user_key == self.user_key and f"{call.place}/".startswith(f"{self.place}/")


class Failure(Noun):
    """Why an attempt has no answer."""

    kind: str
    """Name of DSPy's error, or `lost` for a call under way when its process was killed."""
    message: str


class Attempt(Noun):
    """How one attempt at a call ended."""

    run_id: str
    key: str
    number: int
    response: str | None
    """The response as JSON; None if there is none."""
    failure: Failure | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    charged: Cost
    """What it cost: the worst case where the service did not say."""
    seconds: float = Field(allow_inf_nan=False)
    at: datetime


class LedgerLine(Noun):
    """What one user's calls of one role to one model came to in one run."""

    run_id: str
    user_key: str
    role: str
    model: str
    attempts: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float | None = 0.0
    """None once the price of an attempt was not known."""
    seconds: float = 0.0

    def with_attempt(self, attempt: Attempt) -> "LedgerLine":
        """Return the line with one more attempt in it."""
        return self.model_copy(
            update={
                "attempts": self.attempts + 1,
                "failures": self.failures + (attempt.failure is not None),
                "prompt_tokens": self.prompt_tokens + attempt.prompt_tokens,
                "completion_tokens": self.completion_tokens + attempt.completion_tokens,
                "dollars": both(self.dollars, attempt.charged.dollars),
                "seconds": self.seconds + attempt.seconds,
            }
        )


# DSPy knows an LM on a user's own server by a name that holds the server's; users see the name that they wrote.
_written: dict[str, str] = {}
_SERVER = re.compile(r"^server-[a-z0-9-]+-[0-9a-f]{6}/")


def note_name(model: str, written: str) -> None:
    """Remember how the user wrote the name of the model that DSPy knows as `model`."""
    _written[model] = written


def as_written(model: str) -> str:
    """Return a model's name as the user wrote it, here or in another process."""
    return _written.get(model) or _SERVER.sub("", model)
