"""The handle of one user: who holds it may see that user's rows, and nobody else's."""

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING

from ..errors import SetupError
from .alignments import AlignmentLog
from .database import Database
from .interactions import InteractionLog
from .jobs import JobLog
from .personas import PersonaLog
from .rows import Handle
from .statements import StatementLog

if TYPE_CHECKING:
    from ..memory.chroma_index import EpisodeIndex
    from ..memory.user_memory import UserMemory


class User(Handle):
    """Everything that is stored of one user. Made by `Store.user` and `Store.add_user`."""

    interactions: InteractionLog
    """What was asked and what the user really did."""
    statements: StatementLog
    """What memory has abstracted from that."""
    personas: PersonaLog
    """The persona versions, and which one is live."""
    alignments: AlignmentLog
    """How the versions came about."""
    jobs: JobLog
    """Which alignments a server was asked for."""

    def __init__(
        self, user_id: str, database: Database, index: "EpisodeIndex | None", most_bytes: int | None = None
    ) -> None:
        self._user_id, self._index = user_id, index
        self.key = user_key(user_id)
        """What the user is called wherever a name is needed: in indexes, MLflow, files and logs."""
        self.interactions = InteractionLog(database, self.key, index, most_bytes)
        self.statements = StatementLog(database, self.key)
        self.personas = PersonaLog(database, self.key)
        self.alignments = AlignmentLog(database, self.key)
        self.jobs = JobLog(database, self.key)

    @property
    def user_id(self) -> str:
        """The user's own id, for people who list users; no name, prompt or log is made of it."""
        return self._user_id

    @cached_property
    def memory(self) -> "UserMemory":
        """What programs may see of the user: history, episodes recalled by meaning, statements.

        Raises:
            SetupError: The store was opened without an index.
        """
        from ..memory.user_memory import UserMemory

        if self._index is None:
            raise SetupError("memory needs an index of episodes: pass one as Store.open(..., index=...)")
        return UserMemory(self.interactions, self.statements, self.key, self._index)

    def __repr__(self) -> str:
        return f"User(key={self.key!r})"


def user_key(user_id: str) -> str:
    """Return the name that stands for a user outside the store: 16 hexadecimal digits."""
    return hashlib.sha256(f"personaagent:user:{user_id}".encode()).hexdigest()[:16]
