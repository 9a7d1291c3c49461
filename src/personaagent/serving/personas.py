"""A user's persona: the live version, older ones, what changed between them, the way back, and its alignments."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Response
from pydantic import BaseModel, Field

from .. import telling
from ..blame import Blamed, blame
from ..data.alignment import Job
from ..data.errors import ChangedError, InputError, UnknownNameError
from ..data.interaction import Interaction
from ..data.persona import PersonaVersion, persona_diff
from ..data.store import User
from ..personas import keep_said
from .access import CallerDep, DeploymentDep, PayingCallerDep
from .claims import was_begun_before
from .configuration import body_config
from .deployment import Deployment
from .idempotency import IdempotentRoute
from .learning import ended
from .problems import Problem, documented

personas_router = APIRouter(tags=["Persona"], route_class=IdempotentRoute)
alignments_router = APIRouter(tags=["Alignments"], route_class=IdempotentRoute)
_MOST = 2**31
_ETAGS_CHARACTERS = 4096
Number = Annotated[int, Path(ge=1, le=_MOST)]
JobId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]
_WITH_ETAG = {"headers": {"ETag": {"schema": {"type": "string"}}}}
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

    model_config = body_config(version=1)

    version: int = Field(ge=1, le=_MOST)


class NewAlignment(BaseModel):
    """How the persona is to be aligned."""

    model_config = body_config(n=3, iterations=1)

    n: int = Field(default=3, ge=1, le=20, description="Latest interactions that are simulated.")
    iterations: int = Field(default=1, ge=1, le=10)


class Alignments(BaseModel):
    """Every alignment, newest first."""

    alignments: list[Job]


@personas_router.get("/v1/persona", responses={**_UNCHANGED, 200: _WITH_ETAG}, response_model=LivePersona)
def get_persona(
    caller: CallerDep,
    response: Response,
    if_none_match: Annotated[str | None, Header(max_length=_ETAGS_CHARACTERS)] = None,
) -> LivePersona | Response:
    """Return the live persona with the interactions that its lines came from."""
    if (live := caller.user.personas.live) is None:
        raise Problem(404, "There is no persona yet: the first answer makes one.")
    if if_none_match is not None and _matches(if_none_match, live, weakly=True):
        return Response(status_code=304, headers={"ETag": _etag(live)})
    response.headers["ETag"] = _etag(live)
    causes = sorted(live.persona.causes)
    known = caller.user.interactions.among(causes)
    return LivePersona(version=live, causes={cause: known.get(cause) for cause in causes})


@personas_router.get("/v1/persona/versions")
def list_versions(caller: CallerDep) -> Versions:
    """List every version."""
    return Versions(versions=list(caller.user.personas.versions()))


@personas_router.get("/v1/persona/versions/{number}", responses={200: _WITH_ETAG})
def get_version(number: Number, caller: CallerDep, response: Response) -> PersonaVersion:
    """Return one version."""
    version = caller.user.personas.get(number)
    response.headers["ETag"] = _etag(version)
    return version


@personas_router.get("/v1/persona/blame")
def blame_persona(caller: CallerDep, version: Annotated[int | None, Query(ge=1, le=_MOST)] = None) -> Blame:
    """Say of each line of a version, by default the live one, and of its weights why it is there."""
    personas = caller.user.personas
    shown = personas.live if version is None else personas.get(version)
    number = None if shown is None else shown.number
    return Blame(version=number, blamed=list(blame(caller.user, number)))


@personas_router.get("/v1/persona/diff")
def diff_versions(
    caller: CallerDep, old: Annotated[int, Query(ge=1, le=_MOST)], new: Annotated[int, Query(ge=1, le=_MOST)]
) -> PersonaChange:
    """Return what differs between two versions."""
    personas = caller.user.personas
    return PersonaChange(old=old, new=new, diff=persona_diff(personas.get(old).persona, personas.get(new).persona))


@personas_router.post("/v1/persona/rollback", responses=documented(409, 412))
async def roll_back(
    rollback: Rollback,
    caller: CallerDep,
    if_match: Annotated[str | None, Header(max_length=_ETAGS_CHARACTERS)] = None,
) -> PersonaVersion:
    """Let an older version answer again, from the next request on; what the user states holds in it too."""
    return await asyncio.to_thread(_roll_back, caller.user, rollback.version, if_match)


def _roll_back(user: User, number: int, if_match: str | None) -> PersonaVersion:
    def is_meant(live: PersonaVersion | None) -> bool:
        return if_match is None or (live is not None and _matches(if_match, live, weakly=False))

    if user.personas.get(number).status == "rejected":
        raise Problem(409, "This version was rejected: it never answered.")
    if was_begun_before() and telling.is_rolled_back(user, number):
        return keep_said(user, f"version {number} with what the user states")
    try:
        return telling.roll_back(user, number, "rolled back by the user", while_live=is_meant)
    except (ChangedError, UnknownNameError):
        raise
    except InputError as error:
        raise Problem(409, "This version is live already.") from error


def _matches(header: str, version: PersonaVersion, *, weakly: bool) -> bool:
    """Return whether an If-Match or If-None-Match names a version (RFC 9110, 13.1): a list of tags, or `*` for any.

    A weak tag counts for If-None-Match alone.
    """
    if header.strip() == "*":
        return True
    tags = [tag.strip() for tag in header.split(",")]
    return _etag(version) in ([tag.removeprefix("W/") for tag in tags] if weakly else tags)


def _etag(version: PersonaVersion) -> str:
    return f'"{version.number}-{version.status}-{version.persona.fingerprint}"'


@alignments_router.post("/v1/alignments", status_code=202, responses=documented(409))
async def begin_alignment(new: NewAlignment, caller: PayingCallerDep, deployment: DeploymentDep) -> Job:
    """Begin to align the persona with what the user really did; answers go on under the old one meanwhile."""
    if not await asyncio.to_thread(lambda: caller.user.interactions.known):
        raise Problem(409, "No ground truth is known of this user: add interactions with one, or correct an answer.")
    return await deployment.learner.begin(caller, "the user asked for it", new.n, new.iterations)


@alignments_router.get("/v1/alignments")
async def list_alignments(caller: CallerDep, deployment: DeploymentDep) -> Alignments:
    """List the alignments."""
    jobs = await asyncio.to_thread(caller.user.jobs.all)
    return Alignments(alignments=[await _as_it_stands(deployment, caller.user, job) for job in jobs])


@alignments_router.get("/v1/alignments/{job_id}")
async def get_alignment(job_id: JobId, caller: CallerDep, deployment: DeploymentDep) -> Job:
    """Return one alignment as it stands."""
    return await _as_it_stands(deployment, caller.user, await asyncio.to_thread(caller.user.jobs.get, job_id))


@alignments_router.delete("/v1/alignments/{job_id}", responses=documented(409))
async def cancel_alignment(job_id: JobId, caller: CallerDep, deployment: DeploymentDep) -> Job:
    """End an alignment before its time; what it has done so far is not used."""
    job = await _as_it_stands(deployment, caller.user, await asyncio.to_thread(caller.user.jobs.get, job_id))
    if job.is_over:
        raise Problem(409, f"This alignment is {job.state} already.")
    return await deployment.learner.cancel(caller.user, job)


async def _as_it_stands(deployment: Deployment, user: User, job: Job) -> Job:
    """Return a job; one whose worker is gone is stored as interrupted."""
    if job.is_over or await asyncio.to_thread(deployment.learner.is_under_way, user, job):
        return job
    job = await asyncio.to_thread(user.jobs.get, job.job_id)  # It may have ended since it was read.
    if job.is_over:
        return job
    interrupted = ended(job, "interrupted", "the process that did it ended before it did")
    return await asyncio.to_thread(user.jobs.put, interrupted)
