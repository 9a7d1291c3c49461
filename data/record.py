"""One JSON object of a file, read field by field: whatever is wrong is said with file, record and field."""

import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from dateutil import parser

from .errors import InputError, RecordError

MAX_CHARACTERS = 1_000_000
"""Longest text that is taken in; anything longer is a broken file."""

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_NUMBER = re.compile(r"-?\d{9,}(\.\d+)?")
_YEAR_OR_MONTH = re.compile(r"\d{4}(-\d{2})?")
_YEAR_FIRST = re.compile(r"\d{4}\D")
_NO_YEAR = datetime(1, 1, 1)  # noqa: DTZ001 (a text that names a zone is given it)
_NO_DATE = "{!r} is not a date: write it as YYYY-MM-DD"
_MILLISECONDS = 1e11
"""Numbers from here on count milliseconds: as seconds they would be after the year 5100."""


class Record:
    """A named JSON object of a file.

    Args:
        file: The file that it is in.
        name: What an error calls it: `question 110, profile item 4`.
        value: The JSON value.

    Raises:
        RecordError: `value` is not an object. Of methods: the field is missing, or is not what they return.
    """

    def __init__(self, file: Path | str, name: str, value: object) -> None:
        self.file, self.name = file, name
        if not isinstance(value, dict):
            raise self.error(None, f"expected an object {{...}}, found {_shown(value)}")
        self.fields = cast("dict[str, object]", value)

    def error(self, field: str | None, problem: str) -> RecordError:
        """Return the error that says so."""
        return RecordError(self.file, self.name, field, problem)

    def text(self, field: str) -> str:
        """Return a text, which may be empty, but not too long, and without control characters and broken Unicode."""
        value = self._value(field)
        if not isinstance(value, str):
            raise self.error(field, f"expected a text, found {_shown(value)}")
        if len(value) > MAX_CHARACTERS:
            raise self.error(field, f"has {len(value):,} characters, at most {MAX_CHARACTERS:,} are taken: shorten it")
        if match := _UNPRINTABLE.search(value):
            problem = f"has the unprintable character {match.group()!a} at position {match.start()}: remove it"
            raise self.error(field, problem)
        return value

    def label(self, field: str, labels: tuple[str, ...]) -> str:
        """Return a text that is one of `labels`; with no labels, any text."""
        value = self.text(field)
        if labels and value not in labels:
            raise self.error(field, f"{value[:80]!r} is not one of this task's labels: {', '.join(labels)}")
        return value

    def identifier(self, field: str) -> str:
        """Return an id, which LaMP writes as a text and some files as a whole number."""
        value = self._value(field)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if text := self.text(field).strip():
            return text
        raise self.error(field, "is empty: give it an id")

    def date(self, field: str) -> datetime | None:
        """Return an ISO 8601 date or time in UTC, None if the field is missing; of a year or month, its first day."""
        if field not in self.fields:
            return None
        try:
            text = self.text(field)
            return _in_utc(_iso_date(text), text)
        except ValueError as error:
            raise self.error(field, str(error)) from error

    def items(self, field: str) -> list[object]:
        """Return a list that is not empty."""
        value = self._value(field)
        if not isinstance(value, list):
            raise self.error(field, f"expected a list [...], found {_shown(value)}")
        if not value:
            raise self.error(field, "is empty: it needs at least one item")
        return cast("list[object]", value)

    def _value(self, field: str) -> object:
        if field not in self.fields:
            raise self.error(field, f"is missing; the record has {', '.join(map(repr, self.fields)) or 'no fields'}")
        return self.fields[field]


def read_json(file: Path) -> object:
    """Return what a UTF-8 JSON file holds.

    Raises:
        InputError: The file cannot be read.
        RecordError: It is not JSON, or not UTF-8.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise RecordError(file, where, None, f"malformed JSON: {error.msg}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise RecordError(file, "whole file", None, f"malformed JSON: {error}") from error


def _shown(value: object) -> str:
    return f"{type(value).__name__} {str(value)[:40]!r}"


def date_of(written: str | float) -> datetime:
    """Return a date or time in UTC.

    Args:
        written: ISO 8601, `May 1, 2024, 8:15 PM`, `2024/05/01`, an e-mail's date, or the seconds or milliseconds since
            1970. A year or a month is its first day. A time without a zone is in UTC.
    """
    if isinstance(written, str) and not _NUMBER.fullmatch(written.strip()):
        return _in_utc(_parsed(written.strip()), written)
    seconds = float(written)
    try:
        return datetime.fromtimestamp(seconds / 1000 if abs(seconds) >= _MILLISECONDS else seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{written!r} is no time since 1970 in seconds or milliseconds") from None


def _parsed(text: str) -> datetime:
    with suppress(ValueError):
        return _iso_date(text)
    try:
        month_first, day_first = (
            parser.parse(text, dayfirst=first and not _YEAR_FIRST.match(text), default=_NO_YEAR)
            for first in (False, True)
        )
    except (ValueError, OverflowError):
        month_first = day_first = _NO_YEAR
    if month_first.year == 1:
        raise ValueError(_NO_DATE.format(text[:80]))
    if month_first != day_first:
        raise ValueError(f"{text[:80]!r} is the {month_first:%d %B} or the {day_first:%d %B}: write it as YYYY-MM-DD")
    return month_first


def _iso_date(text: str) -> datetime:
    try:
        return datetime.fromisoformat((text + "-01-01")[:10] if _YEAR_OR_MONTH.fullmatch(text) else text)
    except ValueError:
        raise ValueError(_NO_DATE.format(text[:80])) from None


def _in_utc(date: datetime, written: str) -> datetime:
    try:
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{written!r} is out of range: years 1 to 9999 in UTC") from None
