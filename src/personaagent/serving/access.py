"""Who asks: a key, and the one user whom it may reach with this request."""

from typing import Annotated, NamedTuple

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from ..data.api_key import ApiKey, user_of_tenant
from ..data.errors import UnknownUserError
from ..data.store import User
from .deployment import Deployment
from .named import NAMED, user_named
from .problems import Problem

_bearer = HTTPBearer(auto_error=False, description="An API key, as `personaagent keys create` prints it.")


class Caller(NamedTuple):
    """Who asks, and for whom."""

    key: ApiKey
    user: User


async def deployment(request: Request) -> Deployment:
    """Return what all requests share."""
    return request.app.state.deployment


Deployed = Annotated[Deployment, Depends(deployment)]
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def api_key(deployed: Deployed, credentials: Credentials) -> ApiKey:
    """Return the key of a request; any key at all is refused once it is revoked.

    Raises:
        Problem: There is no key, or it is not one of ours.
        LimitError: The key has made as many requests as it may in this minute.
    """
    key = deployed.store.keys.find(credentials.credentials) if credentials else None
    if key is None:
        detail = "Send an API key of this server as `Authorization: Bearer KEY`."
        raise Problem(401, detail, {"WWW-Authenticate": "Bearer"})
    deployed.limiter.admit(key)
    return key


Key = Annotated[ApiKey, Depends(api_key)]
ForUser = Annotated[
    str | None,
    Header(
        alias=NAMED,
        description="For whom a tenant's or an admin's key asks, percent-encoded; a user's key needs none.",
        max_length=2048,
    ),
]


def caller(request: Request, deployed: Deployed, credentials: Credentials, named: ForUser = None) -> Caller:
    """Return the caller.

    A user's key reaches its own user, whatever the request says.

    Raises:
        Problem: A tenant's or an admin's key names nobody.
        FullError: This request writes, and there is no room.
        UnknownUserError: Nothing is stored of the user yet, and this request only reads.
    """
    key = api_key(deployed, credentials)  # A dependency that another has is called in a thread of its own.
    if request.method == "POST":
        deployed.store.check_disk()
    user = _user_of(deployed, key, named, may_be_new=request.method == "POST")
    return Caller(key, user)


def leaver(deployed: Deployed, credentials: Credentials, named: ForUser = None) -> User:
    """Return the user whom a key may erase, of whom nothing need be stored any more: erasing twice does no harm.

    Raises:
        Problem: A tenant's or an admin's key names nobody.
    """
    return deployed.store.former_user(_user_id_of(api_key(deployed, credentials), named))


def _user_of(deployed: Deployment, key: ApiKey, named: str | None, *, may_be_new: bool) -> User:
    user_id = _user_id_of(key, named)
    try:
        return deployed.store.user(user_id)
    except UnknownUserError:
        if key.role == "user" or not may_be_new:
            raise
        return deployed.store.add_user(user_id)


def _user_id_of(key: ApiKey, named: str | None) -> str:
    if key.role == "user" and key.user_id is not None:
        return key.user_id
    if not named:
        raise Problem(403, "Say for whom this is: a tenant's or an admin's key needs the header X-PersonaAgent-User.")
    return user_of_tenant(key.tenant, user_named(named))


Called = Annotated[Caller, Depends(caller)]
Leaving = Annotated[User, Depends(leaver)]


def charged(request: Request, deployed: Deployed, credentials: Credentials, named: ForUser = None) -> Caller:
    """Return the caller, who can pay for one more call to an LM.

    Raises:
        LimitError: A limit of the key is reached.
    """
    called = caller(request, deployed, credentials, named)
    deployed.limiter.take(called.key)
    return called


Charged = Annotated[Caller, Depends(charged)]
