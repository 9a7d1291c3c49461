"""The store: one database, and the handles of the users in it."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from sqlalchemy import bindparam, delete, exists, insert, select

from ..errors import SetupError, UnknownUserError
from ..interaction import Interaction
from ..nouns import Handle
from ..task import OPEN, Task, register
from . import tables
from .database import Database
from .idempotency import IdempotencyLog
from .interactions import InteractionLog, add_interactions
from .journal import Journal
from .keys import KeyRing, UsageLedger
from .log import check_id, user_key, written
from .people import People, add_user
from .personas import AlignmentLog, JobLog, PersonaLog
from .statements import StatementLog

if TYPE_CHECKING:
    from ..memory.chroma_index import EpisodeIndex
    from ..memory.user_memory import UserMemory

_users, _tasks = tables.users, tables.tasks
_LEAVING = exists().where(tables.erasures.c.user_key == _users.c.key, tables.erasures.c.parts.contains("rows"))
_OF_ID = select(_users.c.key).where(_users.c.user_id == bindparam("user_id"), ~_LEAVING)


class User(Handle):
    """Everything that is stored of one user. Made by `Store.user` and `Store.add_user`."""

    def __init__(
        self, user_id: str, database: Database, index: "EpisodeIndex | None", most_bytes: int | None = None
    ) -> None:
        self._index = index
        self.user_id = user_id
        """The user's own id, for people who list users; names, prompts and logs use `key`."""
        self.key = user_key(user_id)
        """What the user is called wherever a name is needed: in indexes, MLflow, files and logs."""
        self.interactions = InteractionLog(database, self.key, index, most_bytes)
        """What was asked and what the user really did."""
        self.statements = StatementLog(database, self.key)
        """What memory has abstracted from that."""
        self.personas = PersonaLog(database, self.key)
        """The persona versions, and which one is live."""
        self.alignments = AlignmentLog(database, self.key)
        """How the versions came about."""
        self.jobs = JobLog(database, self.key)
        """Which alignments a server was asked for."""

    @cached_property
    def memory(self) -> "UserMemory":
        """What programs may see of the user: history, episodes recalled by meaning, statements."""
        from ..memory.user_memory import UserMemory

        if self._index is None:
            raise SetupError("memory needs an index of episodes: pass one as Store.open(..., index=...)")
        return UserMemory(self.interactions, self.statements, self.key, self._index)

    def __repr__(self) -> str:
        return f"User(key={self.key!r})"


class Store:
    """Where everything is stored. What a call stored is on disk when it returns; a call that fails stores nothing.

    Threads may share a store, and several processes may open the same one.

        >>> with Store.open("sqlite://") as store:
        ...     maya = store.add_user("maya")
        ...     maya.interactions.add([Interaction(interaction_id="1", query="A film for tonight?")])
        1

    Raises:
        StorageError: Of all methods: the database cannot be read or written, or its disk is full.
        SetupError: Of what needs the index of episodes: the store was opened without one.
        UnknownUserError: No user of this id is stored, or (`ErasedUserError`) the user is still to be erased.
        InputError: An id is empty, too long or unprintable.
    """

    def __init__(self, database: Database, index: "EpisodeIndex | None" = None) -> None:
        self.database, self._index = database, index
        """Where it is stored: names that one process holds at a time, and the space on the disk."""
        self.most_bytes_of_user: int | None = None
        """What handles of users let each of them store from now on; None is no limit."""
        self.journal = Journal(database)
        """What was paid for, call by call."""
        self.keys = KeyRing(database)
        """Who may ask a server."""
        self.usage = UsageLedger(database)
        """What each API key has used, day by day."""
        self.idempotency = IdempotencyLog(database)
        """What a server answered to writes."""
        self.people = People(database, index)
        """Its users, each as a whole."""

    @classmethod
    def open(cls, url: str | Path, *, index: "EpisodeIndex | None" = None) -> Self:
        """Open a store, make it if it is not there, and register its tasks.

        Args:
            url: A `Path` is a SQLite file. A text is a URL: `sqlite://` keeps everything in memory, `sqlite:///FILE` in
                a file, `postgresql://USER@HOST/NAME` on a server, for which `personaagent[postgres]` is installed.
            index: Finds episodes by meaning; without one, users have no `memory`.

        Raises:
            SetupError: The store is of another release, is something else, or its driver is not installed.
        """
        database = Database(url)
        try:
            tables.prepare(database)
            store = cls(database, index)
            for task in store.tasks():
                register(task)
        except BaseException:
            database.close()
            raise
        return store

    def user(self, user_id: str) -> User:
        """Return the handle of a user who is stored."""
        check_id("user id", user_id)
        if not self.database.fetch(_OF_ID, {"user_id": user_id}):
            raise UnknownUserError(user_id)
        return self._handle(user_id)

    def former_user(self, user_id: str) -> User:
        """Return the handle of a user who need not be stored any more."""
        return self._handle(check_id("user id", user_id))

    def add_user(self, user_id: str) -> User:
        """Return the handle of a user, who is stored if new."""
        check_id("user id", user_id)
        with self.database.write() as connection:
            add_user(connection, user_id)
        return self._handle(user_id)

    def users(self, newest: int | None = None) -> tuple[User, ...]:
        """Return the handles of all users, or of so many that were stored last, in the order of their storing."""
        rows = self.database.fetch(select(_users.c.user_id).order_by(_users.c.ordinal.desc()).limit(newest))
        return tuple(self._handle(user_id) for (user_id,) in reversed(rows))

    def ingest(self, histories: Mapping[str, Sequence[Interaction]]) -> int:
        """Add to the interactions of several users, new ones included: everything, or on any error nothing at all.

        Returns:
            How many interactions were newly stored.
        """
        handles = {check_id("user id", user_id): self._handle(user_id) for user_id in histories}
        with self.database.write() as connection:
            for user_id in histories:
                add_user(connection, user_id)
            added = {
                user_id: add_interactions(connection, handles[user_id].key, interactions)
                for user_id, interactions in histories.items()
            }
        for user_id, interactions in added.items():
            handles[user_id].interactions.index_added(interactions)
        return sum(len(interactions) for interactions in added.values())

    def add_task(self, task: Task) -> None:
        """Store and register a task of your own, in place of an earlier one of the same name.

        Processes that have the store open already learn of it when they open it again.

        Raises:
            InputError: The name cannot be one, or is that of another task of the package.
        """
        check_id("task name", task.name)
        stored = {known.name: known for known in self.tasks()}
        with self.database.write() as connection:
            connection.execute(delete(_tasks).where(_tasks.c.name == task.name))
            connection.execute(insert(_tasks).values(name=task.name, noun=written(task)))
            register(task)
        if self._index is not None and task.template != stored.get(task.name, OPEN).template:
            self._index.rebuild()  # What interactions of this task are about is embedded, and is something else now.

    def tasks(self) -> tuple[Task, ...]:
        """Return the tasks that were added, by name."""
        return self.database.nouns(Task, select(_tasks.c.noun).order_by(_tasks.c.name))

    def rebuild_index(self) -> int:
        """Make the index of episodes anew from what is stored, whatever state it is in; return the number of users."""
        users = self.users()
        if self._index is not None:
            self._index.rebuild()
        for user in users:
            user.memory.rebuild()
        return len(users)

    def ping(self) -> None:
        """Read something, and check that the disk has space; raises `FullError` if it has not."""
        self.database.disk.check()
        self.database.fetch(select(_users.c.ordinal).limit(1))

    def close(self) -> None:
        """Close the database. The index, which was passed in, stays open."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _handle(self, user_id: str) -> User:
        return User(user_id, self.database, self._index, self.most_bytes_of_user)
