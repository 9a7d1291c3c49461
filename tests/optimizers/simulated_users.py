"""Differences of scores, drawn by chance, with what is true of them known."""

from collections.abc import Iterator

import numpy as np

SHARE, FULL = 2_000, 10_000
"""How often each simulation is repeated: in `make test`, and in `make soak`."""
DEVIATION = 0.25
"""Standard deviation of the difference of one interaction."""
BETWEEN = 0.1
"""Standard deviation of the users' own effects around the mean effect."""


def lines(effect: float, interactions: int, repeats: int, seed: int) -> Iterator[list[float]]:
    """Yield the differences of one line of one user, in time order."""
    generator = np.random.default_rng(seed)
    for _ in range(repeats):
        yield np.clip(generator.normal(effect, DEVIATION, interactions), -1, 1).tolist()


def families(effect: float, users: int, items: int, repeats: int, seed: int) -> Iterator[list[list[float]]]:
    """Yield the differences of one kind of change, by user."""
    generator = np.random.default_rng(seed)
    for _ in range(repeats):
        own = generator.normal(effect, BETWEEN, (users, 1))
        yield np.clip(generator.normal(own, DEVIATION, (users, items)), -1, 1).tolist()


def report(figures: str) -> None:
    """Print what a simulation measured; `pytest -s` shows it."""
    print(f"\n{figures}")  # noqa: T201
