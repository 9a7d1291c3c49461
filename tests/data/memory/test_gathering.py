"""What threads want at the same time is done at once, and each gets its own result."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from personaagent.data.memory.gathering import Gathered


class Doubling:
    """Doubles numbers, when it may; a batch with a negative number fails."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.has_begun, self.may_end = threading.Event(), threading.Event()

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        self.has_begun.set()
        assert self.may_end.wait(10)
        if min(numbers) < 0:
            raise ValueError("negative")
        return [2 * number for number in numbers]


def asked_beside(first: int, others: Sequence[int], doubling: Doubling, *, most: int = 16) -> list[Future[int]]:
    """Have numbers doubled, each in a thread, the others in order and while the first is."""
    gathered = Gathered(doubling, most)
    with ThreadPoolExecutor(1 + len(others)) as threads:
        asked = [threads.submit(gathered.get, first)]
        assert doubling.has_begun.wait(10)
        for place, number in enumerate(others, start=1):
            asked.append(threads.submit(gathered.get, number))
            while len(gathered._next.wanted) != place % most:
                time.sleep(0.001)
        doubling.may_end.set()
    return asked


def test_what_is_wanted_meanwhile_is_done_together() -> None:
    asked = asked_beside(1, [2, 3, 4], doubling := Doubling())
    assert [one.result() for one in asked] == [2, 4, 6, 8]
    assert doubling.batches == [[1], [2, 3, 4]]


def test_no_more_is_done_at_once_than_may_be() -> None:
    asked = asked_beside(1, [2, 3, 4, 5, 6], doubling := Doubling(), most=2)
    assert [one.result() for one in asked] == [2, 4, 6, 8, 10, 12]
    assert sorted(doubling.batches) == [[1], [2, 3], [4, 5], [6]]


def test_whoever_wanted_what_fails_is_told_and_nobody_after() -> None:
    asked = asked_beside(-1, [2, 3], Doubling())
    with pytest.raises(ValueError, match="negative"):
        asked[0].result()
    assert [one.result() for one in asked[1:]] == [4, 6]


def test_all_of_a_batch_that_fails_are_told() -> None:
    asked = asked_beside(1, [2, -3], Doubling())
    for one in asked[1:]:
        with pytest.raises(ValueError, match="negative"):
            one.result()


def test_one_after_another_each_is_done_alone() -> None:
    (doubling := Doubling()).may_end.set()
    gathered = Gathered(doubling, 16)
    assert [gathered.get(1), gathered.get(2)] == [2, 4]
    assert doubling.batches == [[1], [2]]
