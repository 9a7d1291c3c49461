"""API keys: made, found by what a client sends, revoked; and what each has used, by day."""

import re
from datetime import date
from typing import NamedTuple

from sqlalchemy import bindparam, insert, select, text, update

from ..api_key import ApiKey, KeyLimits, Role, hash_of, new_token, split_token, user_of_tenant
from ..errors import InputError, UnknownNameError
from . import tables
from .journal import now
from .log import Log, check_id, read, user_key, written
from .people import add_user

_keys, _usage = tables.api_keys, tables.usage
_OF_ID = select(_keys.c.noun).where(_keys.c.key_id == bindparam("key_id"))
_ID = re.compile("[0-9a-f]{12}")
_OWNERS = {
    "user": "a user's key is for one user: name the user",
    "tenant": "a tenant's key is for all users of one tenant: name the tenant, and no user",
    "admin": "an admin's key is for everyone: name neither a user nor a tenant",
}
_NO_LIMIT = 2**53
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
_OF_DAY = select(_usage.c.calls, _usage.c.dollars).where(
    _usage.c.key_id == bindparam("key_id"), _usage.c.day == bindparam("day")
)


class KeyRing(Log):
    """The API keys of a store. Of a key's secret, only the hash is here."""

    def create(
        self, role: Role, *, tenant: str = "", user_id: str | None = None, limits: KeyLimits | None = None
    ) -> tuple[ApiKey, str]:
        """Make a key. The user of a user's key is stored if new.

        Args:
            role: `user` names a user, `tenant` a tenant, `admin` neither.
            tenant: The tenant's name; of a user's key, the tenant whose user it is.
            user_id: The user's id, as clients say it (`user_of_tenant` makes the stored one of it).
            limits: What the key may use; by default what the server lets every key use.

        Returns:
            The key, and the token to be shown once: it cannot be found out again.
        """
        _check_owner(role, tenant, user_id)
        token, key_id, secret = new_token()
        key = ApiKey(
            key_id=key_id,
            role=role,
            tenant=tenant,
            user_id=None if user_id is None else check_id("user id", user_of_tenant(tenant, user_id)),
            secret_hash=hash_of(secret),
            limits=limits or KeyLimits(),
            created_at=now(),
        )
        with self._database.write() as connection:
            if key.user_id is not None:
                add_user(connection, key.user_id)
            owner = None if key.user_id is None else user_key(key.user_id)
            connection.execute(insert(_keys).values(key_id=key_id, user_key=owner, noun=written(key)))
        return key, token

    def find(self, token: str) -> ApiKey | None:
        """Return the key of a token; None if it is unknown, wrong or revoked."""
        if (parts := split_token(token)) is None:
            return None
        key_id, secret = parts
        key = self._database.noun(ApiKey, _OF_ID, {"key_id": key_id})
        return key if key is not None and key.opens_with(secret) else None

    def all(self) -> tuple[ApiKey, ...]:
        """Return every key, revoked ones too, oldest first."""
        keys = self._database.nouns(ApiKey, select(_keys.c.noun))
        return tuple(sorted(keys, key=lambda key: (key.created_at, key.key_id)))

    def revoke(self, key_id: str) -> None:
        """Let a key open nothing from now on. Revoking twice does no harm."""
        if not _ID.fullmatch(key_id):
            # It may be a token: what is in it must not be shown.
            raise InputError("a key is named by its id, the 12 hexadecimal digits after pa_, not by the whole of it")
        mine = _keys.c.key_id == key_id
        with self._database.write() as connection:
            if (noun := connection.scalar(select(_keys.c.noun).where(mine))) is None:
                raise UnknownNameError("key", key_id, sorted(connection.scalars(select(_keys.c.key_id))))
            if (key := read(ApiKey, noun)).revoked_at is None:
                revoked = key.model_copy(update={"revoked_at": now()})
                connection.execute(update(_keys).where(mine).values(noun=written(revoked)))


def _check_owner(role: Role, tenant: str, user_id: str | None) -> None:
    fits = {
        "user": user_id is not None,
        "tenant": user_id is None and bool(tenant),
        "admin": user_id is None and not tenant,
    }
    if not fits[role]:
        raise InputError(_OWNERS[role])
    if tenant:
        check_id("tenant", tenant)


class Usage(NamedTuple):
    """What one key has used on one day."""

    calls: int
    dollars: float | None
    """None once the price of a call was not known."""


class UsageLedger(Log):
    """The sums by API key and day (UTC). Any number of processes may add to them at once."""

    def add(self, key_id: str, day: date, calls: int, dollars: float | None) -> Usage:
        """Add to what a key has used on a day, in one step that no other adding overlaps.

        Returns:
            The sums, this included; `dollars` is None once it was not known.
        """
        row = {"key_id": key_id, "day": day.isoformat(), "calls": calls, "dollars": dollars}
        with self._database.append() as connection:
            [sums] = connection.execute(_ADD, row).all()
        return Usage._make(sums)

    def reserve(
        self, key_id: str, day: date, dollars: float, most_calls: int | None, most_dollars: float | None
    ) -> bool:
        """Add a call to what a key has used on a day, unless that would be more than it may use; return whether it was.

        The sums are compared and added in one step: no two processes take the last of it. A limit of None is no limit.
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
