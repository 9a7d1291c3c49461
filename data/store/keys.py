"""The ring of API keys: made, found by what a client sends, revoked."""

import re
from collections.abc import Callable

from sqlalchemy import Connection, bindparam, insert, select, update

from ..api_key import ApiKey, KeyLimits, Role, hash_of, new_token, split_token, user_of_tenant
from ..errors import InputError, UnknownNameError
from . import schema
from .database import Database
from .journal import now
from .rows import Handle, check_id, read, written
from .user import user_key

_table = schema.api_keys
_OF_ID = select(_table.c.noun).where(_table.c.key_id == bindparam("key_id"))
_ID = re.compile("[0-9a-f]{12}")
_OWNERS = {
    "user": "a user's key is for one user: name the user",
    "tenant": "a tenant's key is for all users of one tenant: name the tenant, and no user",
    "admin": "an admin's key is for everyone: name neither a user nor a tenant",
}


class KeyRing(Handle):
    """The API keys of a store. Of a key's secret, only the hash is here.

    Args:
        database: Where they rest.
        add_user: Stores a user, if new, in a transaction.
    """

    def __init__(self, database: Database, add_user: Callable[[Connection, str], None]) -> None:
        self._database, self._add_user = database, add_user

    def create(
        self, role: Role, *, tenant: str = "", user_id: str | None = None, limits: KeyLimits | None = None
    ) -> tuple[ApiKey, str]:
        """Make a key. The user of a user's key is stored if new.

        Args:
            role: `user` names a user, `tenant` a tenant, `admin` neither.
            tenant: The tenant's name; of a user's key, the tenant whose user it is.
            user_id: The user's id, as clients say it (`user_of_tenant` makes the stored one of it).
            limits: What the key may use; by default whatever the server lets every key use.

        Returns:
            The key, and the token to be shown once: nobody can make it out again.

        Raises:
            InputError: The role does not go with the rest, or a name cannot be one.
            StorageError: The disk is full or refuses to write.
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
                self._add_user(connection, key.user_id)
            connection.execute(insert(_table).values(_row(key)))
        return key, token

    def find(self, token: str) -> ApiKey | None:
        """Return the key of a token; None if it is unknown, wrong or revoked."""
        if (parts := split_token(token)) is None:
            return None
        key_id, secret = parts
        rows = self._database.fetch(_OF_ID, {"key_id": key_id})
        key = read(ApiKey, rows[0][0]) if rows else None
        return key if key is not None and key.opens_with(secret) else None

    def all(self) -> tuple[ApiKey, ...]:
        """Return every key, revoked ones too, oldest first."""
        with self._database.read() as connection:
            keys = [read(ApiKey, noun) for noun in connection.scalars(select(_table.c.noun))]
        return tuple(sorted(keys, key=lambda key: (key.created_at, key.key_id)))

    def revoke(self, key_id: str) -> None:
        """Let a key open nothing from now on. Revoking twice does no harm.

        Raises:
            UnknownNameError: There is no key of this id.
            InputError: This is no key's id.
            StorageError: The disk is full or refuses to write.
        """
        if not _ID.fullmatch(key_id):
            # It may be a token: what is in it must not be shown.
            raise InputError("a key is named by its id, the 12 hexadecimal digits after pa_, not by the whole of it")
        mine = _table.c.key_id == key_id
        with self._database.write() as connection:
            if (noun := connection.scalar(select(_table.c.noun).where(mine))) is None:
                raise UnknownNameError("key", key_id, sorted(connection.scalars(select(_table.c.key_id))))
            if (key := read(ApiKey, noun)).revoked_at is None:
                revoked = key.model_copy(update={"revoked_at": now()})
                connection.execute(update(_table).where(mine).values(noun=written(revoked)))


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


def _row(key: ApiKey) -> dict[str, object]:
    return {
        "key_id": key.key_id,
        "user_key": None if key.user_id is None else user_key(key.user_id),
        "noun": written(key),
    }
