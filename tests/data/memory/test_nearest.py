"""Rows that are held in memory: those of the users who were read last, and never too many."""

import numpy as np
import pytest

from personaagent.data.memory import nearest
from personaagent.data.memory.nearest import RowCache, UserRows


def rows(number: int) -> UserRows:
    return UserRows([f"u/{place}" for place in range(number)], [{}] * number, np.zeros((number, 2), dtype=np.float32))


def test_who_was_read_longest_ago_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "_MOST_ROWS", 10)
    some = RowCache()
    some.put("maya", rows(4))
    some.put("omar", rows(4))
    assert some.get("maya") is not None
    some.put("noor", rows(4))
    assert [some.get(user) is not None for user in ("maya", "omar", "noor")] == [True, False, True]


def test_too_many_rows_of_one_user_are_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "_MOST_ROWS", 10)
    some = RowCache()
    some.put("maya", rows(4))
    some.put("omar", rows(2))
    some.put("omar", rows(11))
    assert some.get("omar") is None
    assert some.get("maya") is not None


def test_what_is_let_go_is_returned_once() -> None:
    some = RowCache()
    some.put("maya", rows(3))
    held_before = some.pop("maya")
    assert held_before is not None
    assert len(held_before) == 3
    assert some.pop("maya") is None
