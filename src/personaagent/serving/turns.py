"""Turns: so much at once in all and for each key, and those who wait are served key by key."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class _Line:
    """Those of one key."""

    most: int
    under_way: int = 0
    waiting: deque["asyncio.Future[None]"] = field(default_factory=deque["asyncio.Future[None]"])


class Turns:
    """Lets so many go on at once. A key that gets a turn goes behind all that wait. Used in one event loop.

    Args:
        at_once: How many in all.

    Example:
        >>> async with turns.turn(key, most=8):
        ...     await work()
    """

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._lines: OrderedDict[str, _Line] = OrderedDict()

    def waiting(self, key: str) -> int:
        """Return how many of a key wait."""
        return len(self._lines[key].waiting) if key in self._lines else 0

    async def take(self, key: str, most: int) -> None:
        """Wait for a turn, which `give_back` must end. Cancelled, it leaves the line.

        Args:
            key: Whose turn.
            most: How many of this key may go on at once.
        """
        line = self._lines.setdefault(key, _Line(most))
        turn = asyncio.get_running_loop().create_future()
        line.waiting.append(turn)
        self._go_on()
        try:
            await turn
        except asyncio.CancelledError:
            if turn in line.waiting:
                line.waiting.remove(turn)
                self._leave(key)
            elif not turn.cancelled():
                self.give_back(key)  # It came at the moment of the cancellation.
            raise

    def give_back(self, key: str) -> None:
        """End a turn."""
        self._free += 1
        self._lines[key].under_way -= 1
        self._leave(key)
        self._go_on()

    @asynccontextmanager
    async def turn(self, key: str, most: int) -> AsyncGenerator[None]:
        """Take a turn, and give it back at the end of the block."""
        await self.take(key, most)
        try:
            yield
        finally:
            self.give_back(key)

    def _go_on(self) -> None:
        while self._free and (key := self._next()) is not None:
            line = self._lines[key]
            self._lines.move_to_end(key)
            turn = line.waiting.popleft()
            if turn.cancelled():
                continue
            self._free -= 1
            line.under_way += 1
            turn.set_result(None)

    def _next(self) -> str | None:
        return next((key for key, line in self._lines.items() if line.waiting and line.under_way < line.most), None)

    def _leave(self, key: str) -> None:
        line = self._lines[key]
        if not line.waiting and not line.under_way:
            del self._lines[key]
