"""What the logs of the store share: ids, nouns as JSON, and tables of which each row is a noun of one user."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Connection, Select, Table, func, insert, select

from ..errors import InputError, SetupError
from ..nouns import Handle, Noun

if TYPE_CHECKING:
    from .database import Database

MAX_ID_CHARACTERS = 256
"""Longest id. Ids are keys of the database, and PostgreSQL's may not be much longer."""

_NOT_IN_IDS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_READ_AT_ONCE = 5
"""Rows of a whole user that are in memory at once: one may have a megabyte."""

N = TypeVar("N", bound=Noun)


class Log(Handle):
    """What all logs have: a database, and what they raise.

    Raises:
        StorageError: Of all methods: the database cannot be read or written, or its disk is full.
    """

    def __init__(self, database: "Database") -> None:
        self._database = database


class UserLog(Log):
    """Rows of one user."""

    def __init__(self, database: "Database", user_key: str) -> None:
        super().__init__(database)
        self._user_key = user_key


def user_key(user_id: str) -> str:
    """Return the name that stands for a user outside the store: 16 hexadecimal digits."""
    return hashlib.sha256(f"personaagent:user:{user_id}".encode()).hexdigest()[:16]


def check_id(kind: str, value: str) -> str:
    """Return `value` if it can be an id: 1 to 256 characters, no control characters, valid Unicode.

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
    """Return the noun's JSON, having read it back: what is stored can be read again exactly.

    Raises:
        InputError: Something in it does not survive JSON, such as NaN or half of a Unicode pair.
    """
    kind = type(noun)
    try:
        text = noun.to_json()
        survived = kind.from_json(text) == noun
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"this {kind.__name__} cannot be written as JSON: {reason}") from error
    if not survived:
        raise InputError(f"this {kind.__name__} changes when written as JSON: it may hold NaN or an infinite number")
    return text


def read(kind: type[N], text: str) -> N:
    """Return the noun that `written` wrote."""
    try:
        return kind.from_json(text)
    except ValidationError as error:
        what = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise SetupError(f"the store holds a {kind.__name__} that this release cannot read: {what}") from error


def next_number(connection: Connection, column: ColumnElement[Any], *among: ColumnElement[bool]) -> int:
    """Return the number after the highest of a column in the rows that `among` selects; 0 if there is no row."""
    highest = connection.scalar(select(func.max(column)).where(*among))
    return 0 if highest is None else highest + 1


def _no_columns(_noun: Noun, _text: str) -> Mapping[str, object]:
    return {}


@dataclass(frozen=True)
class UserTable(Generic[N]):
    """A table of which each row is one user's noun of one kind, as JSON beside the columns by which it is found."""

    kind: type[N]
    table: Table
    order: str
    """The column that orders a user's rows."""
    fields: tuple[str, ...] = ()
    """Fields of the noun that are columns too."""
    unique: tuple[str, ...] = ()
    """Fields in which no two nouns of one user are equal."""
    computed: Callable[[N, str], Mapping[str, object]] = _no_columns
    """Returns further columns of a noun and its JSON."""

    def select(self, user_key: str, *which: ColumnElement[bool]) -> Select[str]:
        """Return the statement that reads a user's rows in their order."""
        columns = self.table.c
        return select(columns.noun).where(columns.user_key == user_key, *which).order_by(columns[self.order])

    def each(self, connection: Connection, user_key: str) -> Iterator[N]:
        """Yield a user's nouns in their order; few of them are in memory at once."""
        rows = connection.scalars(self.select(user_key), execution_options={"yield_per": _READ_AT_ONCE})
        with closing(rows) as texts:
            yield from (read(self.kind, text) for text in texts)

    def append(self, connection: Connection, user_key: str, nouns: Sequence[N]) -> None:
        """Insert nouns after those that the user has."""
        if not nouns:
            return
        columns = self.table.c
        first = next_number(connection, columns[self.order], columns.user_key == user_key)
        rows = [self._row(user_key, place, noun) for place, noun in enumerate(nouns, first)]
        connection.execute(insert(self.table), rows)

    def _row(self, user_key: str, place: int, noun: N) -> dict[str, object]:
        fields = {name: getattr(noun, name) for name in self.fields}
        for name, value in fields.items():
            if isinstance(value, str):
                check_id(name, value)
        text = written(noun)
        return {"user_key": user_key, self.order: place, **fields, **self.computed(noun, text), "noun": text}
