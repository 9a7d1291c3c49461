"""Connections: how many there are, how long the head of a request may be, and how long it may take to come.

uvicorn bounds the size of a head where h11 reads it, and the time between two requests. It waits without end for the
first request of a connection, and for the rest of a head.
"""

import asyncio
from typing import cast

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

HEAD_BYTES = 16_384
"""Of the request line and the headers together."""
HEAD_SECONDS = 10.0
"""From the opening of a connection, or the last answer, to the end of the next head."""
MOST_CONNECTIONS = 512
"""Of one process; most systems let one have 1,024 files and connections open."""


class BoundedProtocol(H11Protocol):
    """uvicorn's protocol over h11, which lets no connection do nothing for long.

    Where as many connections are open as may be (`limit_concurrency`), one more takes the place of the one that has
    been without a request for the longest time. If all have a request, uvicorn answers 503.
    """

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, and wait for its first head."""
        super().connection_made(transport)
        self._wait_for_head()
        most = self.limit_concurrency
        if most is not None and len(self.connections) >= most:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._wait_no_longer()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for the next head."""
        self._wait_for_head()
        super().on_response_complete()

    @property
    def is_idle(self) -> bool:
        """Whether it has no request."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is None or cycle.response_complete

    def _wait_for_head(self) -> None:
        self._wait_no_longer()
        self._late = self.loop.call_later(HEAD_SECONDS, self._close_if_idle)

    def _wait_no_longer(self) -> None:
        if self._late is not None:
            self._late.cancel()

    def _close_if_idle(self) -> None:
        if self.is_idle:
            self.transport.abort()

    def _make_room(self) -> None:
        others = (cast("BoundedProtocol", one) for one in self.connections if one is not self)
        idle = [one for one in others if one.is_idle and one._late is not None]
        if idle:
            longest = min(idle, key=lambda one: one._late.when() if one._late else 0.0)
            self.connections.discard(longest)
            longest.transport.abort()
