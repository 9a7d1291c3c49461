"""What API keys have used, by day."""

from datetime import date
from typing import NamedTuple

from sqlalchemy import bindparam, select, text

from . import schema
from .database import Database
from .rows import Handle

_NO_LIMIT = 2**53
_table = schema.usage
# A sum with NULL is NULL: once a price was not known, the day's dollars are not known.
_ADD = text(
    "INSERT INTO usage (key_id, day, calls, dollars) VALUES (:key_id, :day, :calls, :dollars) "
    "ON CONFLICT (key_id, day) DO UPDATE "
    "SET calls = usage.calls + excluded.calls, dollars = usage.dollars + excluded.dollars RETURNING calls, dollars"
)
# A sum with NULL is NULL, which is not below any cap.
_RESERVE = text(
    "INSERT INTO usage (key_id, day, calls, dollars) VALUES (:key_id, :day, 1, :dollars) "
    "ON CONFLICT (key_id, day) DO UPDATE "
    "SET calls = usage.calls + 1, dollars = usage.dollars + excluded.dollars "
    "WHERE usage.calls < :most_calls AND usage.dollars + excluded.dollars <= :most_dollars "
    "RETURNING calls"
)
_OF_DAY = select(_table.c.calls, _table.c.dollars).where(
    _table.c.key_id == bindparam("key_id"), _table.c.day == bindparam("day")
)


class Usage(NamedTuple):
    """What one key has used on one day."""

    calls: int
    dollars: float | None
    """None once the price of a call was not known."""


class UsageLedger(Handle):
    """The sums by API key and day (UTC). Any number of processes may add to them at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, key_id: str, day: date, calls: int, dollars: float | None) -> Usage:
        """Add to what a key has used on a day, in one step that no other adding overlaps.

        Args:
            key_id: The key.
            day: The day, in UTC.
            calls: How many.
            dollars: What they cost; None if that is not known.

        Returns:
            The sums, this included.

        Raises:
            StorageError: The disk is full or refuses to write.
        """
        row = {"key_id": key_id, "day": day.isoformat(), "calls": calls, "dollars": dollars}
        with self._database.append() as connection:
            [sums] = connection.execute(_ADD, row).all()
        return Usage._make(sums)

    def reserve(
        self, key_id: str, day: date, dollars: float, most_calls: int | None, most_dollars: float | None
    ) -> bool:
        """Add a call to what a key has used on a day, unless that would be more than it may use.

        The sums are compared and added in one step: no two processes take the last of it.

        Args:
            key_id: The key.
            day: The day, in UTC.
            dollars: What the call may cost.
            most_calls: Of the day; None is no limit.
            most_dollars: Of the day; None is no limit.

        Returns:
            Whether it was added.

        Raises:
            StorageError: The disk is full or refuses to write.
        """
        most = {
            "most_calls": _NO_LIMIT if most_calls is None else most_calls,
            "most_dollars": float(_NO_LIMIT) if most_dollars is None else most_dollars,
        }
        if most["most_calls"] < 1 or dollars > most["most_dollars"]:
            return False  # The first call of a day meets no row that it could be compared with.
        row = {"key_id": key_id, "day": day.isoformat(), "dollars": dollars, **most}
        with self._database.append() as connection:
            return bool(connection.execute(_RESERVE, row).all())

    def of(self, key_id: str, day: date) -> Usage:
        """Return what a key has used on a day (UTC)."""
        rows = self._database.fetch(_OF_DAY, {"key_id": key_id, "day": day.isoformat()})
        return Usage._make(rows[0]) if rows else Usage(0, 0.0)
