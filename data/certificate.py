"""A certificate: which kinds of change were shown to help, on average over many users."""

import hashlib
from datetime import datetime

from pydantic import Field

from .answer_weights import AnswerWeights
from .change import ChangeKind, Evidence
from .nouns import Noun


class Certificate(Noun):
    """Valid for one LM, task and prompt form. Only numbers are in it, nothing of any user."""

    lm: str
    """The model's name."""
    task: str
    form: str
    """What the prompt holds, by name: `lean`, `rag:k=4`, `prompt`."""
    kinds: dict[ChangeKind, Evidence]
    """The certified kinds, with one bet for each user."""
    weights: AnswerWeights | None = None
    """Answer weights fitted on the same users."""
    users: int = Field(ge=1)
    """Users whose interactions were scored."""
    version: str
    """Of the package that made it."""
    made_at: datetime

    @property
    def fingerprint(self) -> str:
        """A hash of what is certified; when it was made does not count."""
        return hashlib.sha256(self.model_dump_json(exclude={"made_at"}).encode()).hexdigest()

    def kinds_for(self, lm: str, task: str, form: str) -> frozenset[ChangeKind]:
        """Return the kinds that are certified there; none for another LM, task or form."""
        return frozenset(self.kinds) if (lm, task, form) == (self.lm, self.task, self.form) else frozenset()
