"""What keys have used: sums that no writer loses, and dollars that are not known stay not known."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from itertools import accumulate, count

from hypothesis import given
from hypothesis import strategies as st

from personaagent.data.store import Store
from personaagent.data.store.keys import Usage

from .test_round_trips import few

DAY, NEXT = date(2024, 5, 1), date(2024, 5, 2)
keys = (f"{number:012x}" for number in count())


def added(one: Usage, other: Usage) -> Usage:
    known = one.dollars is not None and other.dollars is not None
    return Usage(one.calls + other.calls, (one.dollars or 0.0) + (other.dollars or 0.0) if known else None)


@few
@given(st.lists(st.tuples(st.integers(-2, 3), st.none() | st.floats(0, 9)).map(Usage._make), max_size=6))
def test_the_sums_are_those_of_what_was_added(store: Store, uses: list[Usage]) -> None:
    key = next(keys)
    sums = list(accumulate(uses, added, initial=Usage(0, 0.0)))
    assert [store.usage.of(key, DAY), *(store.usage.add(key, DAY, *use) for use in uses)] == sums
    assert store.usage.of(key, DAY) == sums[-1]


def test_keys_and_days_are_counted_apart(url: str) -> None:
    with Store.open(url) as store:
        store.usage.add("abc", DAY, 1, 0.5)
        store.usage.add("abc", NEXT, 2, None)
        store.usage.add("def", DAY, 3, 0.0)
    with Store.open(url) as store:
        assert (store.usage.of("abc", DAY), store.usage.of("abc", NEXT)) == (Usage(1, 0.5), Usage(2, None))
        assert (store.usage.of("def", DAY), store.usage.of("def", NEXT)) == (Usage(3, 0.0), Usage(0, 0.0))


def test_of_those_who_add_at_once_each_gets_a_sum_of_its_own(url: str) -> None:
    with Store.open(url) as store, ThreadPoolExecutor(8) as threads:
        sums = list(threads.map(lambda _: store.usage.add("abc", DAY, 1, 0.25), range(80)))
        assert sorted(sums) == [Usage(calls, calls / 4) for calls in range(1, 81)]
