"""What all logs do with a row: a noun to JSON and back, the next number, and ids that can be keys."""

import re
from typing import Any, Self, TypeVar

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Connection, func, select

from ..errors import InputError, SetupError
from ..nouns import Noun

MAX_ID_CHARACTERS = 256
"""Longest id. Ids are keys of the database, and PostgreSQL's may not be much longer."""

_NOT_IN_IDS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_Noun = TypeVar("_Noun", bound=Noun)


def check_id(kind: str, value: str) -> str:
    """Return `value` if it can be an id: 1 to 256 characters, no control characters, nothing that is not Unicode.

    Raises:
        InputError: It cannot; the message says `kind` and why.
    """
    if not value.strip():
        raise InputError(f"{kind} is empty: give one")
    if len(value) > MAX_ID_CHARACTERS:
        raise InputError(f"{kind} {value[:40]!a}... has {len(value):,} characters, at most {MAX_ID_CHARACTERS} can be")
    if bad := _NOT_IN_IDS.search(value):
        raise InputError(f"{kind} {value!a} has the unprintable character {bad.group()!a}: remove it")
    return value


def written(noun: Noun) -> str:
    """Return the noun's JSON, having read it back: what is stored can be had again exactly.

    Raises:
        InputError: Something in it does not survive JSON, such as NaN or half of a Unicode pair.
    """
    kind = type(noun)
    try:
        text = noun.to_json()
        survived = kind.from_json(text) == noun
    except ValueError as error:
        raise InputError(f"this {kind.__name__} cannot be written as JSON: {_first_line(error)}") from error
    if not survived:
        raise InputError(f"this {kind.__name__} changes when written as JSON: it may hold NaN or an infinite number")
    return text


def read(kind: type[_Noun], text: str) -> _Noun:
    """Return the noun that `written` wrote.

    Raises:
        SetupError: This release cannot read it.
    """
    try:
        return kind.from_json(text)
    except ValidationError as error:
        what = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise SetupError(f"the store holds a {kind.__name__} that this release cannot read: {what}") from error


def next_number(connection: Connection, column: ColumnElement[Any], *among: ColumnElement[bool]) -> int:
    """Return the number after the highest of a column in the rows that `among` selects; 0 if there is no row."""
    highest = connection.scalar(select(func.max(column)).where(*among))
    return 0 if highest is None else highest + 1


def _first_line(error: ValueError) -> str:
    return str(error).partition("\n")[0]


class Handle:
    """Copies of it, deep ones too, are itself: a program that is copied keeps the same user and store."""

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self
