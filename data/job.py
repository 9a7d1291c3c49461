"""A background alignment as its user sees it."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from .nouns import Noun

JobState = Literal["waiting", "running", "cancelling", "finished", "failed", "cancelled", "interrupted"]
"""`cancelling`: the process that does it is to end it, and has not yet. `interrupted`: that process ended before it."""


class Job(Noun):
    """An alignment that a server was asked for, or began by itself."""

    job_id: str = Field(pattern=r"^[0-9a-f]{16}$")
    state: JobState = "waiting"
    reason: str = ""
    """Why it was begun, then why it ended as it did."""
    n: int = Field(default=3, ge=1, le=20)
    """Interactions in the batch."""
    iterations: int = Field(default=1, ge=1, le=10)
    alignment_id: str | None = None
    """The alignment that came of it."""
    version: int | None = None
    """The persona version that is live because of it."""
    losses: int = 0
    known: int = 0
    """Ground truths that the user had given when it began."""
    key_id: str = ""
    """The API key that pays for it."""
    worker: str = ""
    """The run of the process that does it."""
    started_at: datetime
    ended_at: datetime | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state not in {"waiting", "running", "cancelling"}
