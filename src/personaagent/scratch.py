"""A store that is gone afterwards, and copies of users in it."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from .data.store import Store, User
from .home import open_store
from .settings import Settings

if TYPE_CHECKING:
    from .data.persona import PersonaVersion


@contextmanager
def scratch_store(settings: Settings) -> Generator[Store]:
    """Open an empty store that is gone afterwards."""
    with TemporaryDirectory(prefix="personaagent-") as folder:
        elsewhere = settings.model_copy(update={"database": None, "chroma": None})
        with open_store(Path(folder), elsewhere) as store:
            yield store


def copy_user(user: User, store: Store, base: "PersonaVersion | None", most: int | None = None) -> User:
    """Copy a user to another store: the first `most` interactions, what is known from them, one persona version."""
    copy = store.add_user(user.user_id)
    history = user.interactions.all()[:most]
    copy.interactions.add(history)
    seen = {one.interaction_id for one in history}
    for statement in user.statements.current():
        if seen.issuperset(statement.evidence):
            copy.statements.add(statement)
    if base is not None:
        copy.personas.add(base.persona, reason=base.reason, status="live")
    return copy
