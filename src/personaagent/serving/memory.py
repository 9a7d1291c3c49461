"""What is remembered of a user."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from ..data.interaction import Interaction
from ..data.statement import Episode, Statement
from .access import Called, Deployed
from .interactions import InteractionId, Text, found
from .problems import documented

router = APIRouter(tags=["Memory"])


class MemoryPage(BaseModel):
    """A part of what is remembered, newest first."""

    interactions: list[Interaction]
    statements: list[Statement] = Field(description="What is concluded from them now; on the first page only.")
    next: int | None = Field(description="`before` of the next page; null if there is none.")


class MemorySearch(BaseModel):
    """What to look for."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"query": "films at sea", "k": 4}]})

    query: Text
    k: int = Field(default=4, ge=1, le=50)


class Found(BaseModel):
    """What is nearest in meaning, best first."""

    episodes: list[Episode]


@router.get("/v1/memory", responses=documented())
def list_memory(
    called: Called,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[int | None, Query(ge=0, le=2**53, description="`next` of the page before.")] = None,
) -> MemoryPage:
    """List what the user asked and did, and what memory concludes from it."""
    newest_first = called.user.interactions.all()[::-1]
    end = len(newest_first)
    start = 0 if before is None else max(0, end - before)
    page = newest_first[start : start + limit]
    left = end - start - len(page)
    statements = list(called.user.memory.statements()) if before is None else []
    return MemoryPage(interactions=list(page), statements=statements, next=left or None)


@router.post("/v1/memory/search", responses=documented())
def search_memory(search: MemorySearch, called: Called) -> Found:
    """Find the interactions nearest in meaning."""
    return Found(episodes=list(called.user.memory.recall(search.query, search.k)))


@router.delete("/v1/memory/{interaction_id:path}", status_code=204, responses=documented())
async def forget(interaction_id: InteractionId, called: Called, deployed: Deployed) -> None:
    """Forget an interaction, and every statement that stands on it. Persona versions that learnt from it stay."""
    await asyncio.to_thread(found, called.user, interaction_id)
    await asyncio.to_thread(called.user.interactions.forget, interaction_id)
