"""Limits of keys: exactly as many calls as they say, over workers and restarts; a refusal says when to return."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from personaagent.data.api_key import ApiKey, KeyLimits
from personaagent.data.store import Store, UsageLedger
from personaagent.data.store.database import Database
from personaagent.data.store.usage import Usage
from personaagent.serving.limits import Limiter
from personaagent.serving.window import MovingWindow

NO_LIMITS = KeyLimits()


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


@pytest.fixture
def clock() -> Clock:
    return Clock()


def limiter(store: Store, clock: Clock, default: KeyLimits = NO_LIMITS) -> Limiter:
    return Limiter(store.usage, default, now=clock, clock=clock.seconds)


def key(store: Store, **limits: float) -> ApiKey:
    return store.keys.create("admin", limits=KeyLimits.model_validate(limits))[0]


def taken(limiter: Limiter, key: ApiKey, calls: int) -> list[bool]:
    return [limiter.take(key) is None for _ in range(calls)]


@pytest.fixture
def store(new_url: Callable[[], str]) -> Iterator[Store]:
    with Store.open(new_url()) as store:
        yield store


def test_without_a_limit_nothing_is_refused_or_counted(store: Store, clock: Clock) -> None:
    mine, limits = key(store), limiter(store, clock)
    assert taken(limits, mine, 200) == [True] * 200
    limits.charge(mine, None)
    assert store.usage.of(mine.key_id, clock().date()) == (0, 0.0)


def test_calls_a_minute_are_those_of_any_60_seconds(store: Store, clock: Clock) -> None:
    mine, limits = key(store, calls_per_minute=2), limiter(store, clock)
    assert limits.take(mine) is None
    clock.pass_by(40.5)
    assert limits.take(mine) is None
    refusal = limits.take(mine)
    assert refusal is not None
    assert (refusal.retry_after_seconds, refusal.detail) == (
        20,
        "this key may make 2 calls a minute: try again in 20 s",
    )
    clock.pass_by(refusal.retry_after_seconds)
    assert taken(limits, mine, 2) == [True, False]


def test_calls_a_day_are_exactly_as_many_over_workers_and_restarts(store: Store, clock: Clock) -> None:
    mine, workers = key(store, calls_per_day=30), [limiter(store, clock) for _ in range(4)]
    with ThreadPoolExecutor(8) as threads:
        took = list(threads.map(lambda number: workers[number % 4].take(mine) is None, range(60)))
    assert sum(took) == 30
    assert taken(limiter(store, clock), mine, 1) == [False]
    assert store.usage.of(mine.key_id, clock().date()).calls == 30


def test_the_last_call_of_a_day_is_one_workers_even_if_several_saw_it_free(url: str, clock: Clock) -> None:
    class Stale(UsageLedger):
        def of(self, key_id: str, day: date) -> Usage:
            return Usage(0, 0.0)

    with Store.open(url) as store, closing(Database(url)) as database:
        mine = key(store, calls_per_day=2)
        assert taken(Limiter(Stale(database), NO_LIMITS, now=clock), mine, 4) == [True, True, False, False]
        assert store.usage.of(mine.key_id, clock().date()).calls == 2


def test_the_day_begins_at_midnight_utc_and_the_refusal_says_when(store: Store, clock: Clock) -> None:
    mine, limits = key(store, calls_per_day=1), limiter(store, clock)
    assert limits.take(mine) is None
    clock.pass_by(60.5)
    refusal = limits.take(mine)
    assert refusal is not None
    assert refusal.retry_after_seconds == 60
    assert refusal.detail == "this key may make 1 calls a day, and has made them: try again tomorrow (UTC)"
    clock.pass_by(refusal.retry_after_seconds)
    assert taken(limits, mine, 2) == [True, False]


def test_dollars_a_day_are_spent_until_they_are_gone(store: Store, clock: Clock) -> None:
    mine, limits = key(store, dollars_per_day=0.75), limiter(store, clock)
    for dollars in (0.5, 0.125, 0.25):
        assert limits.take(mine) is None
        limits.charge(mine, dollars)
    refusal = limiter(store, clock).take(mine)
    assert refusal is not None
    assert refusal.detail == "this key may spend 0.75 dollars a day, and has spent them: try again tomorrow (UTC)"
    clock.pass_by(refusal.retry_after_seconds)
    assert limits.take(mine) is None


def test_under_a_limit_in_dollars_a_price_that_is_not_known_ends_the_day(store: Store, clock: Clock) -> None:
    mine, limits = key(store, dollars_per_day=5), limiter(store, clock)
    limits.charge(mine, None)
    limits.charge(mine, 0.5)
    refusal = limits.take(mine)
    assert refusal is not None
    assert refusal.detail.startswith("this key may spend 5 dollars a day, and what one of its calls has cost is not")
    assert "PERSONAAGENT_PRICE" in refusal.detail
    clock.pass_by(refusal.retry_after_seconds)
    assert limits.take(mine) is None


def test_a_price_that_is_not_known_is_no_matter_without_a_limit_in_dollars(store: Store, clock: Clock) -> None:
    mine, limits = key(store, calls_per_day=2), limiter(store, clock)
    limits.charge(mine, None)
    assert taken(limits, mine, 3) == [True, True, False]


def test_a_key_that_says_nothing_has_the_servers_limits(store: Store, clock: Clock) -> None:
    limits = limiter(store, clock, KeyLimits(calls_per_minute=2))
    assert taken(limits, key(store), 3) == [True, True, False]
    assert taken(limits, key(store, calls_per_minute=3), 4) == [True, True, True, False]
    assert taken(limits, key(store, calls_per_day=1), 2) == [True, False]


@pytest.mark.parametrize("limit", ["calls_per_minute", "calls_per_day", "dollars_per_day"])
def test_a_limit_of_nothing_lets_nothing_through(store: Store, clock: Clock, limit: str) -> None:
    refusal = limiter(store, clock).take(key(store, **{limit: 0}))
    assert refusal is not None
    assert refusal.retry_after_seconds > 0


def test_keys_do_not_use_up_each_others_limits(store: Store, clock: Clock) -> None:
    limits = limiter(store, clock)
    for _ in range(3):
        assert taken(limits, key(store, calls_per_minute=1, calls_per_day=1), 2) == [True, False]


def test_a_refusal_holds_nothing_of_the_key(tmp_path: Path, clock: Clock) -> None:
    with Store.open(tmp_path / "store.db") as store:
        mine, token = store.keys.create("admin", limits=KeyLimits(calls_per_minute=0))
        shown = repr(limiter(store, clock).take(mine))
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
