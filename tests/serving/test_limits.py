"""Limits of keys: exactly as many calls as they say, over workers and restarts; a refusal says when to return."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from personaagent.data.api_key import ApiKey, KeyLimits
from personaagent.data.call import NOTHING, Cost
from personaagent.data.errors import LimitError
from personaagent.data.store import Store
from personaagent.serving.limits import Limiter, MovingWindow

NO_LIMITS = KeyLimits()
FREE, UNKNOWN = Cost(), Cost(dollars=None)


class Clock:
    """A time that goes on only when it is told to."""

    def __init__(self) -> None:
        self.start = self.at = datetime(2024, 5, 1, 23, 58, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def seconds(self) -> float:
        return (self.at - self.start).total_seconds()

    def pass_by(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def dollars(amount: float) -> Cost:
    return Cost(dollars=amount)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def limiter(store: Store, clock: Clock, default: KeyLimits = NO_LIMITS) -> Limiter:
    return Limiter(store.usage, default, now=clock, clock=clock.seconds)


def key(store: Store, **limits: float) -> ApiKey:
    return store.keys.create("admin", limits=KeyLimits.model_validate(limits))[0]


def refusal(act: Callable[[], object]) -> LimitError | None:
    try:
        act()
    except LimitError as refused:
        return refused
    return None


def taken(limiter: Limiter, key: ApiKey, times: int) -> list[bool]:
    return [refusal(lambda: limiter.take(key)) is None for _ in range(times)]


def called(limiter: Limiter, key: ApiKey, times: int, worst: Cost = FREE) -> list[bool]:
    """Make calls to the LM, each of which costs its worst case."""
    return [refusal(lambda: limiter.payer(key).reserve(worst)) is None for _ in range(times)]


@pytest.fixture
def store(new_url: Callable[[], str]) -> Iterator[Store]:
    with Store.open(new_url()) as store:
        yield store


def test_without_a_limit_nothing_is_refused_or_counted(store: Store, clock: Clock) -> None:
    mine, limits = key(store), limiter(store, clock)
    assert taken(limits, mine, 200) == [True] * 200
    assert called(limits, mine, 3, UNKNOWN) == [True] * 3
    limits.payer(mine).reserve(UNKNOWN).settle(UNKNOWN)
    assert store.usage.of(mine.key_id, clock().date()) == (0, 0.0)


@pytest.mark.parametrize(("limit", "what"), [("calls_per_minute", "calls"), ("requests_per_minute", "requests")])
def test_what_is_counted_by_the_minute_is_that_of_any_60_seconds(
    store: Store, clock: Clock, limit: str, what: str
) -> None:
    mine, limits = key(store, **{limit: 2}), limiter(store, clock)
    act = partial(limits.take if what == "calls" else limits.admit, mine)
    assert refusal(act) is None
    clock.pass_by(40.5)
    assert refusal(act) is None
    refused = refusal(act)
    assert refused is not None
    assert (refused.retry_after_seconds, refused.detail) == (
        20,
        f"this key may make 2 {what} a minute: try again in 20 s",
    )
    clock.pass_by(refused.retry_after_seconds)
    assert [refusal(act) is None for _ in range(2)] == [True, False]


def test_calls_a_day_are_exactly_as_many_over_workers_and_restarts(store: Store, clock: Clock) -> None:
    mine, workers = key(store, calls_per_day=30), [limiter(store, clock) for _ in range(4)]
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda number: called(workers[number % 4], mine, 1) == [True], range(60)))
    assert sum(made) == 30
    assert called(limiter(store, clock), mine, 1) == taken(limiter(store, clock), mine, 1) == [False]
    assert store.usage.of(mine.key_id, clock().date()).calls == 30


def test_dollars_that_are_set_aside_at_once_are_never_more_than_there_are(store: Store, clock: Clock) -> None:
    mine, workers = key(store, dollars_per_day=1), [limiter(store, clock) for _ in range(4)]
    with ThreadPoolExecutor(8) as threads:
        made = list(
            threads.map(lambda number: called(workers[number % 4], mine, 1, dollars(0.25)) == [True], range(30))
        )
    assert (sum(made), store.usage.of(mine.key_id, clock().date())) == (4, (4, 1.0))


def test_the_day_begins_at_midnight_utc_and_the_refusal_says_when(store: Store, clock: Clock) -> None:
    mine, limits = key(store, calls_per_day=1), limiter(store, clock)
    assert called(limits, mine, 1) == [True]
    clock.pass_by(60.5)
    refused = refusal(lambda: limits.take(mine))
    assert refused is not None
    assert refused.retry_after_seconds == 60
    assert refused.detail == "this key may make 1 calls a day, and has made them: try again tomorrow (UTC)"
    clock.pass_by(refused.retry_after_seconds)
    assert called(limits, mine, 2) == [True, False]


def test_a_call_that_may_cost_more_than_is_left_is_not_made(store: Store, clock: Clock) -> None:
    mine, limits = key(store, dollars_per_day=0.75), limiter(store, clock)
    for spent in (0.125, 0.25):
        limits.payer(mine).reserve(dollars(0.5)).settle(dollars(spent))
    assert store.usage.of(mine.key_id, clock().date()) == (2, 0.375)
    refused = refusal(lambda: limits.payer(mine).reserve(dollars(0.5)))
    assert refused is not None
    assert refused.detail == (
        "this key may spend 0.75 dollars a day, and the next call may cost more than is left: try again tomorrow (UTC)"
    )
    assert store.usage.of(mine.key_id, clock().date()) == (2, 0.375)
    assert called(limits, mine, 1, dollars(0.375)) == [True]
    clock.pass_by(refused.retry_after_seconds)
    assert called(limits, mine, 1, dollars(0.5)) == [True]


def test_what_was_set_aside_yesterday_is_put_back_yesterday(store: Store, clock: Clock) -> None:
    mine, limits = key(store, dollars_per_day=1), limiter(store, clock)
    before, reserved = clock().date(), limits.payer(mine).reserve(dollars(1.0))
    clock.pass_by(600)
    reserved.settle(dollars(0.25))
    assert store.usage.of(mine.key_id, before) == (1, 0.25)
    assert store.usage.of(mine.key_id, clock().date()) == (0, 0.0)


def test_a_call_that_was_never_made_costs_nothing(store: Store, clock: Clock) -> None:
    mine, limits = key(store, calls_per_day=1, dollars_per_day=1), limiter(store, clock)
    limits.payer(mine).reserve(dollars(0.5)).settle(NOTHING)
    assert store.usage.of(mine.key_id, clock().date()) == (0, 0.0)


def test_a_request_whose_shortest_call_cannot_be_paid_is_refused_before_any_work(store: Store, clock: Clock) -> None:
    limits = Limiter(store.usage, NO_LIMITS, least=dollars(0.5), now=clock, clock=clock.seconds)
    assert taken(limits, key(store, dollars_per_day=0.25), 1) == [False]
    assert taken(limits, key(store, dollars_per_day=0.5), 1) == [True]


def test_under_a_limit_in_dollars_no_call_is_made_whose_price_is_not_known(store: Store, clock: Clock) -> None:
    mine = key(store, dollars_per_day=5)
    limits = Limiter(store.usage, NO_LIMITS, least=UNKNOWN, now=clock, clock=clock.seconds)
    for act in (lambda: limits.take(mine), lambda: limits.payer(mine).reserve(UNKNOWN)):
        refused = refusal(act)
        assert refused is not None
        assert refused.detail.startswith("this key may spend 5 dollars a day, and what a call costs is not known")
        assert "PERSONAAGENT_PRICE" in refused.detail
    assert store.usage.of(mine.key_id, clock().date()) == (0, 0.0)


def test_a_day_of_which_an_older_release_did_not_know_the_dollars_is_over(store: Store, clock: Clock) -> None:
    mine, limits = key(store, dollars_per_day=5), limiter(store, clock)
    store.usage.add(mine.key_id, clock().date(), 1, None)
    assert called(limits, mine, 1, dollars(0.5)) == taken(limits, mine, 1) == [False]


def test_a_price_that_is_not_known_is_no_matter_without_a_limit_in_dollars(store: Store, clock: Clock) -> None:
    mine, limits = key(store, calls_per_day=2), limiter(store, clock)
    assert called(limits, mine, 3, UNKNOWN) == [True, True, False]


def test_a_key_that_says_nothing_has_the_servers_limits(store: Store, clock: Clock) -> None:
    limits = limiter(store, clock, KeyLimits(calls_per_minute=2))
    assert taken(limits, key(store), 3) == [True, True, False]
    assert taken(limits, key(store, calls_per_minute=3), 4) == [True, True, True, False]
    assert called(limits, key(store, calls_per_day=1), 2) == [True, False]


@pytest.mark.parametrize("limit", ["calls_per_minute", "calls_per_day", "dollars_per_day"])
def test_a_limit_of_nothing_lets_nothing_through(store: Store, clock: Clock, limit: str) -> None:
    refused = refusal(lambda: limiter(store, clock).take(key(store, **{limit: 0})))
    assert refused is not None
    assert refused.retry_after_seconds > 0


def test_keys_do_not_use_up_each_others_limits(store: Store, clock: Clock) -> None:
    limits = limiter(store, clock)
    for _ in range(3):
        mine = key(store, calls_per_minute=1, calls_per_day=1)
        assert taken(limits, mine, 2) == called(limits, mine, 2) == [True, False]


def test_a_refusal_holds_nothing_of_the_key(tmp_path: Path, clock: Clock) -> None:
    with Store.open(tmp_path / "store.db") as store:
        mine, token = store.keys.create("admin", limits=KeyLimits(calls_per_minute=0))
        shown = repr(refusal(lambda: limiter(store, clock).take(mine)))
    assert [part for part in (token, token[-43:], mine.secret_hash) if part in shown] == []


@given(
    most=st.integers(0, 4),
    events=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0, 1, 7, 30, 59, 60, 61])), max_size=40),
)
@example(most=2, events=[("a", 0), ("a", 30), ("a", 30)])
@example(most=4, events=[("a", 0), ("b", 1), ("a", 30), ("a", 30)])
def test_a_window_never_holds_more_and_never_refuses_too_early(most: int, events: list[tuple[str, int]]) -> None:
    now = 0.0
    window = MovingWindow(60, lambda: now)
    counted: dict[str, list[float]] = {"a": [], "b": []}
    for name, seconds in events:
        now += seconds
        recent = [at for at in counted[name] if at > now - 60]
        wait = window.take(name, most)
        assert (wait is None) == (len(recent) < most)
        if wait is None:
            counted[name].append(now)
        elif most:
            assert now + wait == recent[0] + 60
    assert len(window) <= sum(bool(times) and times[-1] > now - 60 for times in counted.values())


def test_a_window_forgets_keys_that_are_idle() -> None:
    now = 0.0
    window = MovingWindow(60, lambda: now)
    for number in range(1000):
        window.take(f"key {number}", 5)
    assert len(window) == 1000
    now = 61.0
    window.take("another", 5)
    assert len(window) == 1


class SlowlyHashed(str):
    """A key that lets other threads in wherever it is looked up."""

    def __hash__(self) -> int:
        time.sleep(0.001)
        return super().__hash__()


def test_threads_that_take_at_once_get_no_more() -> None:
    window = MovingWindow(60, lambda: 0.0)
    with ThreadPoolExecutor(8) as threads:
        took = list(threads.map(lambda _: window.take(SlowlyHashed("key"), 5) is None, range(24)))
    assert sum(took) == 5
