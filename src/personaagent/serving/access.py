"""Who asks: a key, and the one user whom it may reach with this request. What is wrong is raised as a problem."""

import re
from typing import Annotated
from urllib.parse import unquote_to_bytes

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from ..data.api_key import ApiKey, user_of_tenant
from ..data.errors import UnknownUserError
from ..data.store import User
from .answering import Caller
from .deployment import Deployment
from .problems import Problem

USER_HEADER = "X-PersonaAgent-User"
"""The header in which a tenant's or an admin's key says for whom it asks."""

_ENCODED = re.compile(r"(?:[\x20-\x24\x26-\x7e]|%[0-9a-fA-F]{2})*")
bearer = HTTPBearer(auto_error=False, description="An API key, as `personaagent keys create` prints it.")


async def deployment_of(request: Request) -> Deployment:
    """Return what all requests share."""
    return request.app.state.deployment


DeploymentDep = Annotated[Deployment, Depends(deployment_of)]
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
UserHeader = Annotated[
    str | None,
    Header(
        alias=USER_HEADER,
        description="For whom a tenant's or an admin's key asks, percent-encoded; a user's key needs none.",
        max_length=2048,
    ),
]


def api_key(deployment: DeploymentDep, credentials: Credentials) -> ApiKey:
    """Return the key of a request, which is counted; without a valid key it is refused."""
    key = deployment.store.keys.find(credentials.credentials) if credentials else None
    if key is None:
        detail = "Send an API key of this server as `Authorization: Bearer KEY`."
        raise Problem(401, detail, {"WWW-Authenticate": "Bearer"})
    deployment.limiter.admit(key)
    return key


KeyDep = Annotated[ApiKey, Depends(api_key)]


def caller_of(request: Request, deployment: DeploymentDep, key: KeyDep, named: UserHeader = None) -> Caller:
    """Return the caller; a tenant's or an admin's POST adds a user who is not stored yet."""
    is_write = request.method == "POST"
    if is_write:
        deployment.store.database.disk.check()
    user_id = user_id_of(key, named)
    try:
        return Caller(key, deployment.store.user(user_id))
    except UnknownUserError:
        if key.role == "user" or not is_write:
            raise
        return Caller(key, deployment.store.add_user(user_id))


CallerDep = Annotated[Caller, Depends(caller_of)]


def paying_caller_of(deployment: DeploymentDep, caller: CallerDep) -> Caller:
    """Return the caller, if the key can pay for another call to the LM."""
    deployment.limiter.take(caller.key)
    return caller


def erasable_user_of(deployment: DeploymentDep, key: KeyDep, named: UserHeader = None) -> User:
    """Return the user whom a key may erase, stored or not: erasing twice does no harm."""
    return deployment.store.former_user(user_id_of(key, named))


PayingCallerDep = Annotated[Caller, Depends(paying_caller_of)]
ErasableUserDep = Annotated[User, Depends(erasable_user_of)]


def user_id_of(key: ApiKey, named: str | None) -> str:
    """Return the id of the user whom a request is about; a user's key reaches its own user, whatever is named.

    `named` is the header `X-PersonaAgent-User`: percent-encoded UTF-8, which is decoded without loss or refused, so
    that no two names become one.
    """
    if key.role == "user" and key.user_id is not None:
        return key.user_id
    if not named:
        raise Problem(403, f"Say for whom this is: a tenant's or an admin's key needs the header {USER_HEADER}.")
    if not _ENCODED.fullmatch(named):
        raise Problem(400, f"{USER_HEADER}: percent-encode the user's id as UTF-8; a % that stands for itself is %25.")
    try:
        return user_of_tenant(key.tenant, unquote_to_bytes(named).decode())
    except UnicodeDecodeError as error:
        raise Problem(400, f"{USER_HEADER}: percent-encode the user's id as UTF-8.") from error
