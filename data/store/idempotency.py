"""Writes that a server does once: claimed before they are done; sent again, they get the same answer."""

import hashlib
import json
import secrets
from datetime import timedelta

from pydantic import Field
from sqlalchemy import ColumnElement, Connection, delete, exists, insert, select, update

from ..nouns import Noun
from ..texts import texts_in
from . import tables
from .journal import now
from .log import Log, check_id, read, written

KEPT = timedelta(hours=24)

_table = tables.idempotency
_GONE = 410


class Write(Noun):
    """A write that was begun, and what was answered once it was done."""

    request_hash: str
    """Of what was asked: another request under the same token is a client's mistake."""
    write_id: str
    """24 hexadecimal digits: what the write stores is stored under this id, so that it is not stored twice."""
    worker: str
    """The run of the process that does it."""
    status: int | None = None
    """HTTP's; None while it is not done."""
    body: str = Field(default="", repr=False)


class IdempotencyLog(Log):
    """The writes of the last 24 hours, by API key and by the token that the client chose, of which a hash is kept."""

    def claim(
        self, key_id: str, token: str, request_hash: str, *, worker: str, user_key: str = ""
    ) -> tuple[Write, bool]:
        """Claim a write, and forget those of more than 24 hours ago. Of several who claim it at once, one gets it.

        It is about the user `user_key`, with whom it is erased, and is done by the run `worker`.

        Returns:
            The write as it stands, and whether it was claimed just now.
        """
        new = Write(request_hash=request_hash, write_id=secrets.token_hex(12), worker=worker)
        row = {"key_id": key_id, "token": _hashed(token), "user_key": user_key, "at": _moment(), "noun": written(new)}
        with self._database.write() as connection:
            connection.execute(delete(_table).where(_table.c.at < _moment(KEPT)))
            if (known := _find(connection, key_id, token)) is not None:
                return known, False
            connection.execute(insert(_table).values(row))
        return new, True

    def find(self, key_id: str, token: str) -> Write | None:
        """Return a write as it stands; None if it was never begun, given up, or longer ago than 24 hours."""
        with self._database.read() as connection:
            return _find(connection, key_id, token)

    def has_stored(self, user_key: str, write: Write) -> bool:
        """Return whether what a write was to store for a user as an interaction is stored."""
        log = tables.interactions.c
        stored = exists().where(log.user_key == user_key, log.interaction_id == write.write_id)
        with self._database.read() as connection:
            return bool(connection.scalar(select(stored)))

    def take_over(self, key_id: str, token: str, write: Write, worker: str) -> bool:
        """Take over a write from a process that is gone; return whether no other process was faster."""
        return self._change(key_id, token, write, write.model_copy(update={"worker": worker}))

    def finish(self, key_id: str, token: str, write: Write, status: int, body: str) -> bool:
        """Keep what is answered to a write; return whether it is still known."""
        return self._change(key_id, token, write, write.model_copy(update={"status": status, "body": body}))

    def give_up(self, key_id: str, token: str, write: Write) -> None:
        """Forget a write that failed: sent again, it is done."""
        with self._database.write() as connection:
            connection.execute(delete(_table).where(*_same(key_id, token, write)))

    def _change(self, key_id: str, token: str, write: Write, changed: Write) -> bool:
        with self._database.write() as connection:
            changing = update(_table).where(*_same(key_id, token, write)).values(noun=written(changed))
            return connection.execute(changing).rowcount == 1


def forget_answers(connection: Connection, user_key: str, interaction_id: str) -> None:
    """Take out what was answered of an interaction that is forgotten: sent again, its write is not done again."""
    mine = _table.c.user_key == user_key
    rows = connection.execute(select(_table.c.token, _table.c.key_id, _table.c.noun).where(mine)).all()
    for token, key_id, noun in rows:
        write = read(Write, noun)
        if interaction_id == write.write_id or interaction_id in texts_in(json.loads(write.body or "null")):
            gone = written(write.model_copy(update={"status": _GONE, "body": ""}))
            this = (_table.c.key_id == key_id) & (_table.c.token == token)
            connection.execute(update(_table).where(this).values(noun=gone))


def _find(connection: Connection, key_id: str, token: str) -> Write | None:
    mine = (_table.c.key_id == key_id, _table.c.token == _hashed(token), _table.c.at >= _moment(KEPT))
    noun = connection.scalar(select(_table.c.noun).where(*mine))
    return None if noun is None else read(Write, noun)


def _same(key_id: str, token: str, write: Write) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions that select a write only as long as it was not changed."""
    return _table.c.key_id == key_id, _table.c.token == _hashed(token), _table.c.noun == written(write)


def _hashed(token: str) -> str:
    """Return a token's hash: the token is the client's own words."""
    return hashlib.sha256(check_id("Idempotency-Key", token).encode()).hexdigest()


def _moment(ago: timedelta = timedelta()) -> str:
    return (now() - ago).isoformat(timespec="microseconds")  # of one width, so that every collation orders it as time
