"""What a run may spend: what tokens cost, the caps, and a call's worst case set aside before the call is made."""

import threading
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pydantic import Field

from ..data.call import NOTHING, Cost
from ..data.errors import BudgetError, InputError
from ..data.nouns import Noun

if TYPE_CHECKING:
    import dspy


class Price(NamedTuple):
    """Dollars for one token of a prompt and of an answer."""

    prompt: float
    completion: float

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the dollars for so many tokens."""
        return self.prompt * prompt_tokens + self.completion * completion_tokens


FREE = Price(0.0, 0.0)


def price_of(lm: "dspy.LM", setting: str | None = None) -> Price | None:
    """Return the price of an LM's tokens, as set or in DSPy's copy of LiteLLM's table; None if it is not known."""
    from dspy.clients.model_metadata import model_info, rate

    if not isinstance(lm.engine, str):
        return FREE  # An engine in this process sends no bill.
    if setting is not None:
        return _price_set(setting)
    provider, _, name = lm.model.partition("/")
    info = model_info(provider, name)
    prompt, completion = rate(info, "input_cost_per_token"), rate(info, "output_cost_per_token")
    return None if prompt is None or completion is None else Price(prompt, completion)


def _price_set(setting: str) -> Price:
    try:
        prompt, completion = (float(number) / 1_000_000 for number in setting.split(","))
    except ValueError as error:
        raise InputError(
            f"the price is {setting!r}: write dollars for a million tokens of prompts and of answers, like 2.5,10"
        ) from error
    return Price(prompt, completion)


class Budget(Noun):
    """Caps of a run; None is no cap. Calls that an interrupted run has made before count too."""

    max_calls: int | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=0)
    """Prompts and answers together."""
    max_usd: float | None = Field(default=None, ge=0)
    deadline: datetime | None = None
    """No call is begun after it."""

    def refusal(self, total: Cost, now: datetime) -> str | None:
        """Return why a run that came to `total` would be over one of the caps; None if it would not."""
        if self.deadline is not None and now >= self.deadline:
            return f"the deadline of {self.deadline:%Y-%m-%d %H:%M:%S %Z} has passed"
        if self.max_calls is not None and total.calls > self.max_calls:
            return f"another call may not be made (at most {self.max_calls:,})"
        if self.max_tokens is not None and total.tokens > self.max_tokens:
            return f"the next call may need more tokens than are left (at most {self.max_tokens:,} in all)"
        if self.max_usd is not None and total.dollars is None:
            return "this LM's price is not known: name it with PERSONAAGENT_PRICE, or leave out the dollars"
        if self.max_usd is not None and (total.dollars or 0.0) > self.max_usd:
            return f"the next call may cost more dollars than are left (at most {self.max_usd:g} in all)"
        return None


def deadline(written: str) -> datetime:
    """Return the time that `90s`, `15m` or `2h` from now is, or that is written in ISO form."""
    units = {"s": 1, "m": 60, "h": 3600}
    try:
        if written[-1:] in units:
            return datetime.now(UTC) + timedelta(seconds=float(written[:-1]) * units[written[-1]])
        time = datetime.fromisoformat(written)
    except (ValueError, OverflowError) as error:
        raise InputError(f"deadline {written!r} is not a time: write 90s, 15m, 2h, or 2026-01-31T18:00") from error
    return time if time.tzinfo else time.astimezone()


class Purse:
    """Sees that a run never spends more than its budget, however many calls are under way. Threads share it.

    Calls are decided on in the order in which they come. One that fits only if calls under way turn out cheaper than
    their worst case waits for them. The first that does not fit at all closes the purse: from then on every call is
    refused, and the run comes to its end.
    """

    def __init__(self, budget: Budget, spent: Cost = NOTHING) -> None:
        self._budget = budget
        self._changed = threading.Condition()
        self._spent, self._reserved = spent, NOTHING
        self._waiting: deque[object] = deque()
        self._closed: str | None = None

    @property
    def spent(self) -> Cost:
        """What has been spent until now; calls under way are not in it."""
        return self._spent

    def reserve(self, worst: Cost) -> None:
        """Set aside what a call may cost at most, once it fits; raises `BudgetError` if the call may not be made."""
        place = object()
        with self._changed:
            self._waiting.append(place)
            try:
                self._changed.wait_for(lambda: self._waiting[0] is place and self._is_decided(worst))
                self._closed = self._closed or self._refusal(worst)
                if self._closed is not None:
                    raise BudgetError(f"stopped: {self._closed}")
                self._reserved = self._reserved + worst
            finally:
                self._waiting.remove(place)
                self._changed.notify_all()

    def settle(self, worst: Cost, actual: Cost) -> None:
        """Put back what was set aside for a call, and take what it cost."""
        with self._changed:
            self._reserved = _without(self._reserved, worst)
            self._spent = self._spent + actual
            self._changed.notify_all()

    def _is_decided(self, worst: Cost) -> bool:
        """Whether a call fits, or calls under way do not stand between it and the caps."""
        if self._closed is not None or self._reserved.calls == 0 or self._refusal(worst) is None:
            return True
        return self._budget.refusal(self._spent + worst, datetime.now(UTC)) is not None

    def _refusal(self, worst: Cost) -> str | None:
        return self._budget.refusal(self._spent + self._reserved + worst, datetime.now(UTC))


def _without(whole: Cost, part: Cost) -> Cost:
    if whole.calls == part.calls:
        return NOTHING
    known = whole.dollars is not None and part.dollars is not None
    dollars = (whole.dollars or 0.0) - (part.dollars or 0.0) if known else None
    return Cost(calls=whole.calls - part.calls, tokens=whole.tokens - part.tokens, dollars=dollars)


class Reservation(Protocol):
    """What a payer has set aside for one call."""

    def settle(self, charged: Cost) -> None:
        """Charge what the call has cost in place of what was set aside."""
        ...


class Payer(Protocol):
    """An account that pays for calls beside the run: the API key of a request, say."""

    def reserve(self, worst: Cost) -> Reservation:
        """Set aside what a call may cost at most, before it is made.

        Raises:
            LimitError: The call may not be made.
            StorageError: The store could not be written.
        """
        ...


_payer: ContextVar[Payer | None] = ContextVar("personaagent_payer", default=None)


def payer_here() -> Payer | None:
    """Return who pays for the calls that are made here; None if it is only the run itself."""
    return _payer.get()


@contextmanager
def paid_by(payer: Payer) -> Generator[None]:
    """Let a payer pay for every call to an LM that is made inside, in threads too that inherit their context."""
    token = _payer.set(payer)
    try:
        yield
    finally:
        _payer.reset(token)
