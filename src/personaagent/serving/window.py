"""A moving window: at most so many events in any so many seconds, for each of many keys.

The library `limits` has one, whose memory store looks at every key in a new thread after each event: 10,000 keys take a
third of a core (limits 5.8). Here, what is forgotten is found at one end.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable


class MovingWindow:
    """Counts events in this process. Threads may share it.

    Args:
        seconds: How long the window is.
        clock: Seconds that never go back.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds, self._clock, self._lock = seconds, clock, threading.Lock()
        # By key, when its events were; the key with the latest event is last.
        self._events: OrderedDict[str, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._events)

    def take(self, key: str, most: int) -> float | None:
        """Count an event of a key, unless the window holds `most` of its events already.

        Returns:
            None if it was counted, else the seconds until one more may be.
        """
        with self._lock:
            now = self._clock()
            self._forget(now)
            events = self._events.get(key, deque())
            while events and events[0] <= now - self._seconds:
                events.popleft()
            if len(events) >= most:
                return events[0] + self._seconds - now if events else self._seconds
            events.append(now)
            self._events[key] = events
            self._events.move_to_end(key)
            return None

    def _forget(self, now: float) -> None:
        while self._events:
            key, events = next(iter(self._events.items()))
            if events[-1] > now - self._seconds:
                return
            del self._events[key]
