"""How fast the machine is just now: one that is shared may take twice as long a minute later."""

import time
from statistics import median

_ADDITIONS, _TIMES = 100_000, 20


def machine_ms() -> float:
    """Return how many milliseconds a fixed piece of work in Python takes: the median of a few."""
    return median(_took() for _ in range(_TIMES)) * 1000


def _took() -> float:
    began, total = time.perf_counter(), 0
    for number in range(_ADDITIONS):
        total += number
    return time.perf_counter() - began
