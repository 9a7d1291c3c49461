"""An interaction: one past exchange between a user and the world, and the order that masks rely on."""

from datetime import UTC, datetime
from typing import Literal

from pydantic import Field, JsonValue, field_validator

from .nouns import Noun

_UNDATED = datetime.min.replace(tzinfo=UTC)

SAID = "said"
"""The task of what a user states without being asked: the statement is the query, and there is no ground truth."""


class Interaction(Noun):
    """One exchange: what was asked, what the user really did, and what the agent had said."""

    interaction_id: str = Field(min_length=1)
    """Unique among the interactions of one user."""
    query: str
    """What was asked, as the agent gets it."""
    ground_truth: str | None = None
    """What the user really did or said; None until it is known."""
    response: str | None = None
    """What the agent had answered; None if it was not asked."""
    persona_version: int | None = None
    """The number of the persona version that answered."""
    at: datetime | None = None
    """When it happened (UTC); None in a history without dates."""
    position: int = 0
    """Place in the user's history, 0 = oldest. It orders interactions that share a date or have none."""
    task: str = "open"
    """Name of the task (`personaagent.data.task`)."""
    source: Literal["user", "import", "tool"] = "user"
    """Who says so: the user, an imported history, or a tool's output."""
    metadata: dict[str, JsonValue] = Field(default_factory=dict)

    @field_validator("at")
    @classmethod
    def _as_utc(cls, at: datetime | None) -> datetime | None:
        if at is None:
            return None
        try:
            return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        except OverflowError as error:
            raise ValueError("the time is before the year 1 or after the year 9999 in UTC") from error

    @property
    def moment(self) -> tuple[datetime, int]:
        """The key by which a history is ordered: date first, then position."""
        return (self.at or _UNDATED, self.position)

    def precedes(self, other: "Interaction") -> bool:
        """Whether this one had happened when `other` began."""
        return self.moment < other.moment


def normalised(text: str) -> str:
    """Return `text` in the form under which two queries count as the same: case and spacing do not matter."""
    return " ".join(text.casefold().split())
