"""What a server answered to writes, so that one that is sent again is answered again and not done again."""

from datetime import timedelta

from pydantic import Field
from sqlalchemy import delete, select, text

from ..nouns import Noun
from . import schema
from .database import Database
from .handle import Handle
from .journal import now
from .rows import check_id, read, written

KEPT = timedelta(hours=24)
"""How long an answer is known."""

_table = schema.idempotency
_ADD = text(
    "INSERT INTO idempotency (key_id, token, user_key, at, noun) VALUES (:key_id, :token, :user_key, :at, :noun) "
    "ON CONFLICT DO NOTHING"
)


class Answered(Noun):
    """What was answered to a write."""

    request_hash: str
    """Of what was asked: another request under the same token is a client's mistake."""
    status: int
    """HTTP's."""
    body: str = Field(repr=False)


class IdempotencyLog(Handle):
    """The answers to the writes of the last 24 hours, by API key and by the token that the client chose."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, key_id: str, token: str) -> Answered | None:
        """Return what was answered; None if nothing was, or longer ago than 24 hours.

        Raises:
            InputError: The token is empty, too long or unprintable.
        """
        check_id("Idempotency-Key", token)
        mine = (_table.c.key_id == key_id, _table.c.token == token, _table.c.at >= _oldest())
        with self._database.read() as connection:
            noun = connection.scalar(select(_table.c.noun).where(*mine))
        return None if noun is None else read(Answered, noun)

    def keep(self, key_id: str, token: str, answered: Answered, *, user_key: str | None = None) -> None:
        """Keep an answer, and forget those of more than 24 hours ago. The first one under a token stays.

        Args:
            key_id: The API key that asked.
            token: What the client calls the write.
            answered: The answer.
            user_key: Whom it is about: it is erased together with this user.

        Raises:
            InputError: The token is empty, too long or unprintable.
            StorageError: The key or the user is gone, or the disk is full or refuses to write.
        """
        check_id("Idempotency-Key", token)
        row = {"key_id": key_id, "token": token, "user_key": user_key, "at": _moment(), "noun": written(answered)}
        with self._database.write() as connection:
            connection.execute(delete(_table).where(_table.c.at < _oldest()))
            connection.execute(_ADD, row)


def _oldest() -> str:
    return _moment(KEPT)


def _moment(ago: timedelta = timedelta()) -> str:
    return (now() - ago).isoformat(timespec="microseconds")  # of one width, so that every collation orders it as time
