"""Dates as files write them."""

import re
from datetime import UTC, datetime

from dateutil import parser

_NUMBER = re.compile(r"-?\d{9,}(\.\d+)?")
_YEAR_OR_MONTH = re.compile(r"\d{4}(-\d{2})?")
_YEAR_FIRST = re.compile(r"\d{4}\D")
_NO_YEAR = datetime(1, 1, 1)  # noqa: DTZ001 (a text that names a zone is given it)
_MILLISECONDS = 1e11
"""Numbers from here on count milliseconds: as seconds they would be after the year 5100."""


def date_of(written: str | float) -> datetime:
    """Return a date or time in UTC.

    Args:
        written: ISO 8601, `May 1, 2024, 8:15 PM`, `2024/05/01`, an e-mail's date, or the seconds or milliseconds since
            1970. A year or a month is its first day. A time without a zone is in UTC.

    Raises:
        ValueError: It is no date, or more than one.
    """
    if isinstance(written, str) and not _NUMBER.fullmatch(written.strip()):
        return _in_utc(_parsed(written.strip()), written)
    seconds = float(written)
    try:
        return datetime.fromtimestamp(seconds / 1000 if abs(seconds) >= _MILLISECONDS else seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{written!r} is no time since 1970 in seconds or milliseconds") from None


def _parsed(text: str) -> datetime:
    if _YEAR_OR_MONTH.fullmatch(text):
        text = (text + "-01-01")[:10]
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    try:
        month_first, day_first = (
            parser.parse(text, dayfirst=first and not _YEAR_FIRST.match(text), default=_NO_YEAR)
            for first in (False, True)
        )
    except (ValueError, OverflowError):
        month_first = day_first = _NO_YEAR
    if month_first.year == 1:
        raise ValueError(f"{text[:80]!r} is not a date: write it as YYYY-MM-DD")
    if month_first != day_first:
        raise ValueError(f"{text[:80]!r} is the {month_first:%d %B} or the {day_first:%d %B}: write it as YYYY-MM-DD")
    return month_first


def _in_utc(date: datetime, written: str) -> datetime:
    try:
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{written!r} is out of range: years 1 to 9999 in UTC") from None
