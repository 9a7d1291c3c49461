"""What is known of a user: interactions, feedback on answers, what memory concludes, what the user states."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Path, Query
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    Field,
    JsonValue,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic.config import JsonDict

from ..data.errors import ErasedUserError, InputError, UnknownNameError
from ..data.interaction import Interaction
from ..data.persona import MAX_LINE_CHARACTERS
from ..data.said import Said, said
from ..data.statement import Episode, Statement
from ..data.store import User
from ..data.task import OPEN, known_tasks, task_named
from ..forgetting import forget, untell
from ..personas import keep_said
from ..telling import Told, tell
from .access import CallerDep, DeploymentDep
from .claims import new_id, was_begun_before
from .configuration import MAX_TEXT, body_config
from .idempotency import IdempotentRoute
from .problems import Problem, documented

interactions_router = APIRouter(tags=["Interactions"], route_class=IdempotentRoute)
memory_router = APIRouter(tags=["Memory"], route_class=IdempotentRoute)
_MOST_AT_ONCE = 1_000
_PAGE_BYTES = 2**20
"""Most bytes of the interactions on a page, unless a single interaction has more."""
Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]
InteractionId = Annotated[str, Path(max_length=200, description="Of an interaction of this user.")]


def _show_tasks(schema: JsonDict) -> None:
    schema["enum"] = [*known_tasks()]


def _without_prefix(name: object) -> object:
    return name.removeprefix("chatcmpl-") if isinstance(name, str) else name


class NewInteraction(BaseModel):
    """Something that the user asked, and what the user really did if that is known."""

    model_config = body_config(query="Which tag suits this film?", ground_truth="dark comedy", task="LaMP-2M")

    query: Text
    ground_truth: Text | None = None
    response: Text | None = Field(default=None, description="What another agent had answered.")
    at: AwareDatetime | None = Field(default=None, description="When it happened; by default now.")
    task: str = Field(default=OPEN.name, json_schema_extra=_show_tasks)
    id: str | None = Field(default=None, min_length=1, max_length=200, pattern=r"^[ -~]+$")
    metadata: dict[str, JsonValue] = Field(default_factory=dict, max_length=50)

    @field_validator("at")
    @classmethod
    def _has_a_time_in_utc(cls, at: datetime | None) -> datetime | None:
        try:
            return at and at.astimezone(UTC)
        except OverflowError as error:
            raise ValueError("before the year 1 or after the year 9999 in UTC") from error


class NewInteractions(BaseModel):
    """Several, of which all are stored or none."""

    model_config = body_config(interactions=[{"query": "A film?", "ground_truth": "noir"}])

    interactions: list[NewInteraction] = Field(min_length=1, max_length=_MOST_AT_ONCE)


class Stored(BaseModel):
    """What several came to."""

    stored: int = Field(description="How many are new.")


class Feedback(BaseModel):
    """What the user says of an answer; at least one thing."""

    model_config = body_config(interaction_id="5f1c0a9be2d34c67", correction="dark comedy")

    interaction_id: Annotated[str, BeforeValidator(_without_prefix)] = Field(
        min_length=1, max_length=200, description="Of the answer; a completion's `id` serves too."
    )
    rating: Literal["good", "bad"] | None = None
    correction: Text | None = Field(default=None, description="What the answer should have been.")
    text: Text | None = Field(default=None, description="Anything else: it becomes an interaction of its own.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.rating is None and self.correction is None and self.text is None:
            raise ValueError("give a rating, a correction or a text")
        return self


class Learnt(BaseModel):
    """What came of a feedback."""

    interaction: Interaction
    learnt: bool = Field(description="Whether the ground truth is known now.")


class MemoryPage(BaseModel):
    """A part of what is remembered, newest first."""

    interactions: list[Interaction]
    statements: list[Statement] = Field(description="What is concluded from them now; on the first page only.")
    next: int | None = Field(description="`before` of the next page; null if there is none.")


class MemorySearch(BaseModel):
    """What to look for."""

    model_config = body_config(query="films at sea", k=4)

    query: Text
    k: int = Field(default=4, ge=1, le=50)


class NewStatement(BaseModel):
    """Something that the user states."""

    model_config = body_config(text="I am vegetarian")

    text: str = Field(min_length=1, max_length=MAX_LINE_CHARACTERS)
    replace: str | None = Field(default=None, max_length=200, description="Id of the statement that it replaces.")
    also: bool = Field(default=False, description="Whether earlier statements on the same subject hold beside it.")


class Statements(BaseModel):
    """What the user stated, oldest first; those that `replaced_by` names another for hold no more."""

    said: list[Said]


class Found(BaseModel):
    """What is nearest in meaning, best first."""

    episodes: list[Episode]


@interactions_router.post("/v1/interactions", status_code=201, responses=documented(409))
async def add_interaction(new: NewInteraction, caller: CallerDep, deployment: DeploymentDep) -> Interaction:
    """Store an interaction. It is on disk when this answers; sent again with the same `id`, it is stored once."""
    interaction = _interaction_of(new)
    await asyncio.to_thread(_store, caller.user, [interaction], [new.at is not None])
    stored = await asyncio.to_thread(_get, caller.user, interaction.interaction_id)
    if stored.ground_truth is not None:
        await deployment.learner.begin_if_due(caller)
    return stored


@interactions_router.post("/v1/interactions/batch", status_code=201, responses=documented(409))
async def add_interactions(new: NewInteractions, caller: CallerDep, deployment: DeploymentDep) -> Stored:
    """Store several interactions, all or none; those that are stored already are passed over."""
    interactions = [
        _interaction_of(each, f"interactions.{number}.", f"-{number}") for number, each in enumerate(new.interactions)
    ]
    dated = [each.at is not None for each in new.interactions]
    stored = await asyncio.to_thread(_store, caller.user, interactions, dated)
    if stored:
        await deployment.learner.begin_if_due(caller)
    return Stored(stored=stored)


@interactions_router.get("/v1/interactions/{interaction_id:path}")
def get_interaction(interaction_id: InteractionId, caller: CallerDep) -> Interaction:
    """Return one interaction."""
    return _get(caller.user, interaction_id)


@interactions_router.post("/v1/feedback")
async def give_feedback(feedback: Feedback, caller: CallerDep, deployment: DeploymentDep) -> Learnt:
    """Take what the user says of an answer: a correction is the ground truth, and a good answer was it already."""
    learnt = await asyncio.to_thread(_learn, caller.user, feedback)
    if learnt.learnt or feedback.text is not None:
        await deployment.learner.begin_if_due(caller)
    return learnt


@memory_router.get("/v1/memory")
def list_memory(
    caller: CallerDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[int | None, Query(ge=0, le=2**53, description="`next` of the page before.")] = None,
) -> MemoryPage:
    """List what the user asked and did, and what memory concludes from it."""
    end = len(caller.user.interactions)
    start = 0 if before is None else max(0, end - before)
    page = caller.user.interactions.newest(limit, start, most_bytes=_PAGE_BYTES)
    left = end - start - len(page)
    statements = list(caller.user.memory.statements()) if before is None else []
    return MemoryPage(interactions=list(page), statements=statements, next=left or None)


@memory_router.post("/v1/memory/search")
def search_memory(search: MemorySearch, caller: CallerDep) -> Found:
    """Find the interactions nearest in meaning."""
    return Found(episodes=list(caller.user.memory.recall(search.query, search.k)))


@memory_router.delete("/v1/memory/{interaction_id:path}", status_code=204)
async def forget_interaction(interaction_id: InteractionId, caller: CallerDep) -> None:
    """Forget an interaction with all that only it caused: statements, and lines of the live persona."""
    await asyncio.to_thread(_get, caller.user, interaction_id)
    await asyncio.to_thread(forget, caller.user, interaction_id)


@memory_router.get("/v1/said")
def list_said(caller: CallerDep) -> Statements:
    """List what the user stated, and which later statement replaced which."""
    return Statements(said=list(said(caller.user.memory.said())))


@memory_router.post("/v1/said", status_code=201)
async def tell_statement(new: NewStatement, caller: CallerDep) -> Told:
    """Make what the user states a line of the persona, from the next answer on."""
    return await asyncio.to_thread(_tell, caller.user, new)


@memory_router.delete("/v1/said/{statement_id:path}", status_code=204)
async def delete_statement(statement_id: InteractionId, caller: CallerDep) -> None:
    """Delete what the user stated; what it had replaced holds again."""
    await asyncio.to_thread(untell, caller.user, statement_id)


def _interaction_of(new: NewInteraction, where: str = "", suffix: str = "") -> Interaction:
    """Return what is to be stored; problems name the field, which is `where` in the request."""
    try:
        task = task_named(new.task)
    except UnknownNameError as error:
        raise Problem(422, f"{where}task: use one of {', '.join(error.known)}.") from error
    if task.labels and new.ground_truth is not None and new.ground_truth not in task.labels:
        raise Problem(422, f"{where}ground_truth: must be one of {', '.join(task.labels)}.")
    name, at = new.id or new_id() + suffix, new.at or datetime.now(UTC)
    return Interaction(**new.model_dump(exclude={"id", "at"}), interaction_id=name, at=at)


def _store(user: User, interactions: Sequence[Interaction], dated: Sequence[bool]) -> int:
    """Store interactions that are not stored yet, and return how many; without a date, they keep that of the first."""
    known = user.interactions.among([interaction.interaction_id for interaction in interactions])
    new: list[Interaction] = []
    for interaction, is_dated in zip(interactions, dated, strict=True):
        earlier = known.get(interaction.interaction_id)
        if earlier is None or is_dated:
            new.append(interaction)
        elif not was_begun_before():
            new.append(interaction.model_copy(update={"at": earlier.at}))
    try:
        return user.interactions.add(new)
    except ErasedUserError:
        raise
    except InputError:
        if user.interactions.among([interaction.interaction_id for interaction in new]).keys() <= known.keys():
            raise
        return _store(user, interactions, dated)  # Sent twice at once: the other was first.


def _get(user: User, interaction_id: str) -> Interaction:
    try:
        return user.interactions.get(interaction_id)
    except InputError as error:
        raise Problem(404, "There is no such interaction.") from error


def _learn(user: User, feedback: Feedback) -> Learnt:
    interaction = _get(user, feedback.interaction_id)
    truth = feedback.correction or (interaction.response if feedback.rating == "good" else None)
    if truth is not None:
        labels = task_named(interaction.task).labels
        if labels and truth not in labels:
            raise Problem(422, f"correction: must be one of {', '.join(labels)}.")
        interaction = user.interactions.learn(interaction.interaction_id, truth)
    if feedback.text is not None:
        remark = Interaction(
            interaction_id=new_id(),
            query=f"What do you say of the answer to this? {interaction.query}"[:MAX_TEXT],
            ground_truth=feedback.text,
            at=datetime.now(UTC),
            metadata={"feedback_on": interaction.interaction_id},
        )
        _store(user, [remark], [False])
    return Learnt(interaction=interaction, learnt=truth is not None)


def _tell(user: User, new: NewStatement) -> Told:
    if was_begun_before():
        text = new.text.strip()
        newest = next((each for each in reversed(said(user.memory.said())) if each.text == text), None)
        if newest is not None:
            return Told(statement=newest, replaced=(), version=keep_said(user, "the user said so"))
    return tell(user, new.text, replace=new.replace, also=new.also)
