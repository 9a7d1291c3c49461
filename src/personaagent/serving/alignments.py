"""Alignments: begin one, see how it goes, end it."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from ..data.alignment import Job
from ..data.store import User
from .access import Called, Charged, Deployed
from .deployment import Deployment
from .idempotency import IdempotentRoute
from .problems import Problem, documented

router = APIRouter(tags=["Alignments"], route_class=IdempotentRoute)
JobId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]


class NewAlignment(BaseModel):
    """How the persona is to be aligned."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"n": 3, "iterations": 1}]})

    n: int = Field(default=3, ge=1, le=20, description="Latest interactions that are simulated.")
    iterations: int = Field(default=1, ge=1, le=10)


class Alignments(BaseModel):
    """Every alignment, newest first."""

    alignments: list[Job]


@router.post("/v1/alignments", status_code=202, responses=documented(409))
async def begin_alignment(new: NewAlignment, called: Charged, deployed: Deployed) -> Job:
    """Begin to align the persona with what the user really did; answers go on under the old one meanwhile."""
    if not await asyncio.to_thread(_known, called.user):
        raise Problem(409, "No ground truth is known of this user: add interactions with one, or correct an answer.")
    return await deployed.learner.begin(called, "the user asked for it", new.n, new.iterations)


@router.get("/v1/alignments", responses=documented())
async def list_alignments(called: Called, deployed: Deployed) -> Alignments:
    """List the alignments."""
    jobs = await asyncio.to_thread(called.user.jobs.all)
    return Alignments(alignments=[await _as_it_stands(deployed, called.user, job) for job in jobs])


@router.get("/v1/alignments/{job_id}", responses=documented())
async def get_alignment(job_id: JobId, called: Called, deployed: Deployed) -> Job:
    """Return one alignment as it stands."""
    return await _as_it_stands(deployed, called.user, await asyncio.to_thread(called.user.jobs.get, job_id))


@router.delete("/v1/alignments/{job_id}", responses=documented(409))
async def cancel_alignment(job_id: JobId, called: Called, deployed: Deployed) -> Job:
    """End an alignment before its time; what it has done so far is not used."""
    job = await _as_it_stands(deployed, called.user, await asyncio.to_thread(called.user.jobs.get, job_id))
    if job.is_over:
        raise Problem(409, f"This alignment is {job.state} already.")
    return await deployed.learner.cancel(called.user, job)


def _known(user: User) -> int:
    return user.interactions.known


async def _as_it_stands(deployed: Deployment, user: User, job: Job) -> Job:
    """Return a job; one that nobody does any more is stored as interrupted."""
    if job.is_over or await asyncio.to_thread(deployed.learner.is_under_way, user, job):
        return job
    job = await asyncio.to_thread(user.jobs.get, job.job_id)  # It may have ended since it was read.
    if job.is_over:
        return job
    lost = {
        "state": "interrupted",
        "reason": "the process that did it ended before it did",
        "ended_at": datetime.now(UTC),
    }
    return await asyncio.to_thread(user.jobs.put, job.model_copy(update=lost))
