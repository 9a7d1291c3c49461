"""What users did and what they say of answers."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Path
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic.config import JsonDict

from ..data.errors import ErasedUserError, InputError, UnknownNameError
from ..data.interaction import Interaction
from ..data.store import User
from ..data.task import OPEN, known_tasks, task_named
from .access import Called, Deployed
from .configuration import MAX_TEXT
from .idempotency import IdempotentRoute, claim_here, new_id
from .problems import Problem, documented

router = APIRouter(tags=["Interactions"], route_class=IdempotentRoute)
MOST_AT_ONCE = 1_000
Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]
InteractionId = Annotated[str, Path(max_length=200, description="Of an interaction of this user.")]


def _show_tasks(schema: JsonDict) -> None:
    schema["enum"] = [*known_tasks()]


def _without_prefix(name: object) -> object:
    return name.removeprefix("chatcmpl-") if isinstance(name, str) else name


class NewInteraction(BaseModel):
    """Something that the user asked, and what the user really did if that is known."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"query": "Which tag suits this film?", "ground_truth": "dark comedy", "task": "LaMP-2M"}]
        },
    )

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

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"interactions": [{"query": "A film?", "ground_truth": "noir"}]}]},
    )

    interactions: list[NewInteraction] = Field(min_length=1, max_length=MOST_AT_ONCE)


class Stored(BaseModel):
    """What several came to."""

    stored: int = Field(description="How many are new.")


class Feedback(BaseModel):
    """What the user says of an answer; at least one thing."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"interaction_id": "5f1c0a9be2d34c67", "correction": "dark comedy"}]},
    )

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


@router.post("/v1/interactions", status_code=201, responses=documented(409))
async def add_interaction(new: NewInteraction, called: Called, deployed: Deployed) -> Interaction:
    """Store an interaction. It is on disk when this answers; sent again with the same `id`, it is stored once."""
    interaction = _interaction_of(new)
    stored = await asyncio.to_thread(_stored, called.user, interaction, dated=new.at is not None)
    if stored.ground_truth is not None:
        await deployed.learner.notice(called)
    return stored


@router.post("/v1/interactions/batch", status_code=201, responses=documented(409))
async def add_interactions(new: NewInteractions, called: Called, deployed: Deployed) -> Stored:
    """Store several interactions, all or none; those that are stored already are passed over."""
    interactions = [
        _interaction_of(one, f"interactions.{place}.", f"-{place}") for place, one in enumerate(new.interactions)
    ]
    dated = [one.at is not None for one in new.interactions]
    stored = await asyncio.to_thread(_all_stored, called.user, interactions, dated)
    if stored:
        await deployed.learner.notice(called)
    return Stored(stored=stored)


@router.get("/v1/interactions/{interaction_id:path}", responses=documented())
def get_interaction(interaction_id: InteractionId, called: Called) -> Interaction:
    """Return one interaction."""
    return found(called.user, interaction_id)


@router.post("/v1/feedback", responses=documented())
async def give_feedback(feedback: Feedback, called: Called, deployed: Deployed) -> Learnt:
    """Take what the user says of an answer: a correction is the ground truth, and a good answer was it already."""
    learnt = await asyncio.to_thread(_learn, called.user, feedback)
    if learnt.learnt or feedback.text is not None:
        await deployed.learner.notice(called)
    return learnt


def _interaction_of(new: NewInteraction, place: str = "", suffix: str = "") -> Interaction:
    """Return what is to be stored.

    Raises:
        Problem: There is no such task, or it has no such answer.
    """
    try:
        task = task_named(new.task)
    except UnknownNameError as error:
        raise Problem(422, f"{place}task: use one of {', '.join(error.known)}.") from error
    if task.labels and new.ground_truth is not None and new.ground_truth not in task.labels:
        raise Problem(422, f"{place}ground_truth: must be one of {', '.join(task.labels)}.")
    return Interaction(
        interaction_id=new.id or new_id() + suffix,
        query=new.query,
        ground_truth=new.ground_truth,
        response=new.response,
        at=new.at or datetime.now(UTC),
        task=new.task,
        metadata=new.metadata,
    )


def _stored(user: User, interaction: Interaction, *, dated: bool) -> Interaction:
    """Store an interaction, unless it was stored before, and return it."""
    name = interaction.interaction_id
    known, claim = None if dated else _known(user, name), claim_here()
    if known is not None and claim is not None and claim.was_begun:
        return known
    if known is not None:
        interaction = interaction.model_copy(update={"at": known.at})
    try:
        user.interactions.add([interaction])
    except ErasedUserError:
        raise
    except InputError:
        if dated or known is not None or _known(user, name) is None:
            raise
        return _stored(user, interaction, dated=dated)  # Sent twice at once: the other was first.
    return user.interactions.get(name)


def _all_stored(user: User, interactions: Sequence[Interaction], dated: Sequence[bool]) -> int:
    """Store interactions, and return how many were not stored before; the time of one without a date is its first."""

    def as_known(interaction: Interaction) -> Interaction:
        known = _known(user, interaction.interaction_id)
        return interaction if known is None else interaction.model_copy(update={"at": known.at})

    return user.interactions.add(
        [one if is_dated else as_known(one) for one, is_dated in zip(interactions, dated, strict=True)]
    )


def _learn(user: User, feedback: Feedback) -> Learnt:
    one = found(user, feedback.interaction_id)
    truth = feedback.correction or (one.response if feedback.rating == "good" else None)
    if truth is not None:
        labels = task_named(one.task).labels
        if labels and truth not in labels:
            raise Problem(422, f"correction: must be one of {', '.join(labels)}.")
        one = user.interactions.learn(one.interaction_id, truth)
    if feedback.text is not None:
        remark = Interaction(
            interaction_id=new_id(),
            query=f"What do you say of the answer to this? {one.query}"[:MAX_TEXT],
            ground_truth=feedback.text,
            at=datetime.now(UTC),
            metadata={"feedback_on": one.interaction_id},
        )
        _stored(user, remark, dated=False)
    return Learnt(interaction=one, learnt=truth is not None)


def found(user: User, interaction_id: str) -> Interaction:
    """Return one interaction.

    Raises:
        Problem: The user has none of this id.
    """
    if (one := _known(user, interaction_id)) is None:
        raise Problem(404, "There is no such interaction.")
    return one


def _known(user: User, interaction_id: str) -> Interaction | None:
    try:
        return user.interactions.get(interaction_id)
    except InputError:
        return None
