"""The user as a whole: what there is, all of it to take along, and nothing any more."""

import asyncio
from collections.abc import AsyncIterator
from typing import Literal

from fastapi import APIRouter
from fastapi.concurrency import iterate_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from ..data.call import as_written
from ..data.store import User
from ..erasure import Receipt
from ..portable import export_user
from .access import CallerDep, DeploymentDep, ErasableUserDep
from .deployment import Deployment

router = APIRouter(tags=["User"])


class Learning(BaseModel):
    """When the persona is aligned by itself."""

    every: int
    """Ground truths between two alignments; 0 for never."""
    known: int
    """Ground truths that the user has given in all."""


class Me(BaseModel):
    """Who the key stands for, and what is stored."""

    role: Literal["user", "tenant", "admin"]
    tenant: str
    user: str
    """A hash that stands for the user."""
    interactions: int
    persona_version: int | None
    lm: str
    learning: Learning


@router.get(
    "/v1/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {}}}},
)
async def export_me(caller: CallerDep, deployment: DeploymentDep) -> StreamingResponse:
    """Return all that is known of the user as JSON lines, which `personaagent user import` reads."""
    return StreamingResponse(_export(deployment, caller.user), media_type="application/x-ndjson")


async def _export(deployment: Deployment, user: User) -> AsyncIterator[str]:
    """Yield the lines; each export fills a file, so a user has one at a time."""
    async with deployment.exports.slot(user.key, most=1):
        lines = await asyncio.to_thread(export_user, deployment.store, user.user_id)
        async for line in iterate_in_threadpool(lines):
            yield line


@router.delete("/v1/me")
async def erase_me(user: ErasableUserDep, deployment: DeploymentDep) -> Receipt:
    """Erase the user with every trace, keys included. Nothing brings it back; the receipt says what was removed.

    What a service that is away has is named in the receipt, and removed when it is back. Sent again, it does no harm.
    """
    return await deployment.erase(user)


@router.get("/v1/me")
def get_me(caller: CallerDep, deployment: DeploymentDep) -> Me:
    """Say who the key stands for."""
    user, live = caller.user, caller.user.personas.live
    return Me(
        role=caller.key.role,
        tenant=caller.key.tenant,
        user=user.key,
        interactions=len(user.interactions),
        persona_version=live and live.number,
        lm=as_written(deployment.lm),
        learning=Learning(every=deployment.serving.align_every, known=user.interactions.known),
    )
