"""A loopback server."""

from collections.abc import Iterator

import pytest

from ..loopback import Loopback, loopback


@pytest.fixture
def server() -> Iterator[Loopback]:
    with loopback() as up:
        yield up
