"""What is remembered of a user."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from ..data.interaction import Interaction
from ..data.persona import MAX_LINE_CHARACTERS
from ..data.said import Said, said
from ..data.statement import Episode, Statement
from ..data.store import User
from ..forgetting import forget, untell
from ..personas import keep_said
from ..telling import Told, tell
from .access import Called
from .idempotency import IdempotentRoute, claim_here
from .interactions import InteractionId, Text, found
from .problems import documented

_PAGE_BYTES = 2**20
"""Of the interactions of one page, unless one of them alone has more."""

router = APIRouter(tags=["Memory"], route_class=IdempotentRoute)


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


class NewStatement(BaseModel):
    """Something that the user states."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"text": "I am vegetarian"}]})

    text: str = Field(min_length=1, max_length=MAX_LINE_CHARACTERS)
    replace: str | None = Field(default=None, max_length=200, description="Id of the statement that it replaces.")
    also: bool = Field(default=False, description="Whether earlier statements on the same subject hold beside it.")


class Statements(BaseModel):
    """What the user stated, oldest first; those that `replaced_by` names another for hold no more."""

    said: list[Said]


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
    end = len(called.user.interactions)
    start = 0 if before is None else max(0, end - before)
    page = called.user.interactions.newest(limit, start, most_bytes=_PAGE_BYTES)
    left = end - start - len(page)
    statements = list(called.user.memory.statements()) if before is None else []
    return MemoryPage(interactions=list(page), statements=statements, next=left or None)


@router.post("/v1/memory/search", responses=documented())
def search_memory(search: MemorySearch, called: Called) -> Found:
    """Find the interactions nearest in meaning."""
    return Found(episodes=list(called.user.memory.recall(search.query, search.k)))


@router.delete("/v1/memory/{interaction_id:path}", status_code=204, responses=documented())
async def forget_interaction(interaction_id: InteractionId, called: Called) -> None:
    """Forget an interaction with all that only it caused: statements, and lines of the live persona."""
    await asyncio.to_thread(found, called.user, interaction_id)
    await asyncio.to_thread(forget, called.user, interaction_id)


@router.get("/v1/said", responses=documented())
def list_said(called: Called) -> Statements:
    """List what the user stated, and which later statement replaced which."""
    return Statements(said=list(said(called.user.memory.said())))


@router.post("/v1/said", status_code=201, responses=documented())
async def tell_statement(new: NewStatement, called: Called) -> Told:
    """Make what the user states a line of the persona, from the next answer on."""
    return await asyncio.to_thread(_told, called.user, new)


def _told(user: User, new: NewStatement) -> Told:
    claim = claim_here()
    if claim is not None and claim.was_begun:
        newest = next((one for one in reversed(said(user.memory.said())) if one.text == new.text.strip()), None)
        if newest is not None:
            return Told(statement=newest, replaced=(), version=keep_said(user, "the user said so"))
    return tell(user, new.text, replace=new.replace, also=new.also)


@router.delete("/v1/said/{statement_id:path}", status_code=204, responses=documented())
async def delete_statement(statement_id: InteractionId, called: Called) -> None:
    """Delete what the user stated; what it had replaced holds again."""
    await asyncio.to_thread(untell, called.user, statement_id)
