"""API keys: who may ask a server, about whom, and how much. What a client sends is never stored, only its hash."""

import hashlib
import hmac
import re
import secrets
from datetime import datetime
from typing import Literal

from pydantic import Field

from .errors import InputError
from .nouns import Noun

Role = Literal["user", "tenant", "admin"]

_TENANT = "tenant "
_TOKEN = re.compile("pa_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


class KeyLimits(Noun):
    """What a key may use. None is no limit."""

    calls_per_minute: int | None = Field(default=None, ge=0)
    """Requests that ask the LM: questions, and alignments that are asked for."""
    calls_per_day: int | None = Field(default=None, ge=0)
    """Calls to the LM, those of alignments included. Days are UTC."""
    dollars_per_day: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """What those calls cost."""
    requests_per_minute: int | None = Field(default=None, ge=0)
    """Requests of any kind."""

    @property
    def is_metered(self) -> bool:
        """Whether calls to the LM are counted."""
        return self.calls_per_day is not None or self.dollars_per_day is not None


class ApiKey(Noun):
    """The right to ask a server, as a user, as a tenant for its users, or as an admin for all users."""

    key_id: str
    """12 hexadecimal digits: the part of the token that is no secret."""
    role: Role
    tenant: str = ""
    """Whose users it is for; empty in a key of a user who has no tenant, and of an admin."""
    user_id: str | None = None
    """Of a user's key: the id under which the user is stored."""
    secret_hash: str = Field(repr=False)
    limits: KeyLimits = Field(default_factory=KeyLimits)
    created_at: datetime
    revoked_at: datetime | None = None

    @property
    def user(self) -> str | None:
        """The user as clients say it: of a tenant's user, the id that the tenant gave."""
        return None if self.user_id is None else self.user_id.removeprefix(_prefix(self.tenant))

    def opens_with(self, secret: str) -> bool:
        """Whether this is the key's secret, and the key not revoked; how much of it is right does not show in time."""
        return hmac.compare_digest(self.secret_hash, hash_of(secret)) and self.revoked_at is None


def user_of_tenant(tenant: str, user: str) -> str:
    """Return the id under which a tenant's user is stored; `tenant` is empty for a user who has none."""
    if not user.strip():
        raise InputError("user id is empty: give one")
    if not tenant and user.startswith(_TENANT):
        raise InputError(f"user id {user[:40]!a} begins with {_TENANT!r}, as only ids of a tenant's users do")
    return _prefix(tenant) + user


def new_token() -> tuple[str, str, str]:
    """Return the token of a new key, its id and its secret."""
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    return f"pa_{key_id}_{secret}", key_id, secret


def split_token(token: str) -> tuple[str, str] | None:
    """Return the key's id and the secret in a token; None if it is no token."""
    found = _TOKEN.fullmatch(token)
    return (found.group(1), found.group(2)) if found else None


def hash_of(secret: str) -> str:
    """Return the hash of a secret, which is stored."""
    # A slow hash protects what people choose. These are 256 random bits: they cannot be guessed, however fast the hash.
    return hashlib.sha256(secret.encode()).hexdigest()


def _prefix(tenant: str) -> str:
    return f"{_TENANT}{hashlib.sha256(tenant.encode()).hexdigest()[:16]} " if tenant else ""
