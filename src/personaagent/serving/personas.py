"""A user's persona: the live version, the older ones, what changed between them, and the way back."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from .. import telling
from ..blame import Blamed, blame
from ..data.errors import ChangedError, InputError, UnknownNameError
from ..data.interaction import Interaction
from ..data.persona import PersonaVersion, persona_diff
from ..data.store import User
from ..personas import keep_said
from .access import Called
from .idempotency import IdempotentRoute, claim_here
from .problems import Problem, documented

router = APIRouter(tags=["Persona"], route_class=IdempotentRoute)
_MOST = 2**31
_LONGEST_TAGS = 4096
Number = Annotated[int, Path(ge=1, le=_MOST)]
_TAGGED = {"headers": {"ETag": {"schema": {"type": "string"}}}}
_UNCHANGED = {304: {"description": "It is the version that If-None-Match names."}}


class LivePersona(BaseModel):
    """The persona that answers, and where each of its lines comes from."""

    version: PersonaVersion
    causes: dict[str, Interaction | None] = Field(description="By id, as lines name them; null if forgotten since.")


class Versions(BaseModel):
    """Every version, oldest first, with the status that it has now."""

    versions: list[PersonaVersion]


class PersonaChange(BaseModel):
    """What differs between two versions."""

    old: int
    new: int
    diff: str = Field(description="A unified diff of the texts; empty if they read the same.")


class Blame(BaseModel):
    """Why a version is as it is."""

    version: int | None = Field(description="Null if there is no persona yet.")
    blamed: list[Blamed] = Field(description="Its lines, its weights, then what waits in the shadow or was retired.")


class Rollback(BaseModel):
    """Which version is to answer again."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"version": 1}]})

    version: int = Field(ge=1, le=_MOST)


@router.get("/v1/persona", responses={**documented(), **_UNCHANGED, 200: _TAGGED}, response_model=LivePersona)
def get_persona(
    called: Called, response: Response, if_none_match: Annotated[str | None, Header(max_length=_LONGEST_TAGS)] = None
) -> LivePersona | Response:
    """Return the live persona with the interactions that its lines came from."""
    if (live := called.user.personas.live) is None:
        raise Problem(404, "There is no persona yet: the first answer makes one.")
    if if_none_match is not None and _names(if_none_match, live, weakly=True):
        return Response(status_code=304, headers={"ETag": _tag(live)})
    response.headers["ETag"] = _tag(live)
    causes = sorted(live.persona.causes)
    known = called.user.interactions.among(causes)
    return LivePersona(version=live, causes={cause: known.get(cause) for cause in causes})


@router.get("/v1/persona/versions", responses=documented())
def list_versions(called: Called) -> Versions:
    """List every version."""
    return Versions(versions=list(called.user.personas.versions()))


@router.get("/v1/persona/versions/{number}", responses={**documented(), 200: _TAGGED})
def get_version(number: Number, called: Called, response: Response) -> PersonaVersion:
    """Return one version."""
    version = _version(called.user, number)
    response.headers["ETag"] = _tag(version)
    return version


@router.get("/v1/persona/blame", responses=documented())
def blame_persona(called: Called, version: Annotated[int | None, Query(ge=1, le=_MOST)] = None) -> Blame:
    """Say of each line of a version, by default the live one, and of its weights why it is there."""
    shown = called.user.personas.live if version is None else _version(called.user, version)
    return Blame(version=shown and shown.number, blamed=list(blame(called.user, shown and shown.number)))


@router.get("/v1/persona/diff", responses=documented())
def diff_versions(
    called: Called, old: Annotated[int, Query(ge=1, le=_MOST)], new: Annotated[int, Query(ge=1, le=_MOST)]
) -> PersonaChange:
    """Return what differs between two versions."""
    change = persona_diff(_version(called.user, old).persona, _version(called.user, new).persona)
    return PersonaChange(old=old, new=new, diff=change)


@router.post("/v1/persona/rollback", responses=documented(409, 412))
async def roll_back(
    rollback: Rollback, called: Called, if_match: Annotated[str | None, Header(max_length=_LONGEST_TAGS)] = None
) -> PersonaVersion:
    """Let an older version answer again, from the next request on; what the user states holds in it too."""
    return await asyncio.to_thread(_rolled_back, called.user, rollback.version, if_match)


def _rolled_back(user: User, number: int, if_match: str | None) -> PersonaVersion:
    def is_meant(live: PersonaVersion | None) -> bool:
        return if_match is None or (live is not None and _names(if_match, live, weakly=False))

    if _version(user, number).status == "rejected":
        raise Problem(409, "This version was rejected: it never answered.")
    if (claim := claim_here()) is not None and claim.was_begun and telling.is_rolled_back(user, number):
        return keep_said(user, f"version {number} with what the user states")
    try:
        return telling.roll_back(user, number, "rolled back by the user", while_live=is_meant)
    except (ChangedError, UnknownNameError):
        raise
    except InputError as error:
        raise Problem(409, "This version is live already.") from error


def _version(user: User, number: int) -> PersonaVersion:
    return user.personas.get(number)


def _names(header: str, version: PersonaVersion, *, weakly: bool) -> bool:
    """Return whether an If-Match or If-None-Match names a version (RFC 9110, 13.1): a list of tags, or `*` for any.

    A weak tag counts for If-None-Match alone.
    """
    if header.strip() == "*":
        return True
    tags = [tag.strip() for tag in header.split(",")]
    return _tag(version) in ([tag.removeprefix("W/") for tag in tags] if weakly else tags)


def _tag(version: PersonaVersion) -> str:
    return f'"{version.number}-{version.status}-{version.persona.fingerprint}"'
