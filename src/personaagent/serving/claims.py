"""The claim of a write that is sent with an `Idempotency-Key`: what it stores has an id that is known beforehand."""

import secrets
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple


class Claim(NamedTuple):
    """A write that is being done."""

    write_id: str
    """What it stores is stored under this id."""
    was_begun: bool
    """Whether it was begun before, and may be stored already."""
    give_up: Callable[[], None]
    """To be called when it fails after its response has begun: sent again, it is then done again."""


_claim: ContextVar[Claim | None] = ContextVar("personaagent_claim", default=None)


@contextmanager
def claimed(claim: Claim) -> Generator[None]:
    """Handle a request under a claim."""
    token = _claim.set(claim)
    try:
        yield
    finally:
        _claim.reset(token)


def current_claim() -> Claim | None:
    """Return the claim of the request that is being handled; None if it has none."""
    return _claim.get()


def was_begun_before() -> bool:
    """Return whether the write that is being done was begun before, and may be stored already."""
    claim = _claim.get()
    return claim is not None and claim.was_begun


def new_id(digits: int = 24) -> str:
    """Return the id for what a request stores: that of its claim, so that it is the same when it is sent again."""
    claim = _claim.get()
    return claim.write_id[:digits] if claim else secrets.token_hex(digits // 2)
