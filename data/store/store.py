"""The store: one database, and the handles of the users in it."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from sqlalchemy import Connection, bindparam, delete, exists, insert, select

from ..errors import ErasedUserError, UnknownUserError
from ..interaction import Interaction
from ..task import OPEN, Task
from ..tasks import register
from . import schema
from .database import Database
from .idempotency import IdempotencyLog
from .interactions import add_interactions
from .journal import Journal
from .keys import KeyRing
from .migrations import migrate
from .people import People
from .rows import check_id, next_number, read, written
from .tombstones import is_leaving
from .usage import UsageLedger
from .user import User, user_key

if TYPE_CHECKING:
    from ..memory.chroma_index import EpisodeIndex

_table, _tasks = schema.users, schema.tasks
_of_id = select(_table.c.key).where(_table.c.user_id == bindparam("user_id"))
_leaving = exists().where(schema.erasures.c.user_key == _table.c.key, schema.erasures.c.parts.contains("rows"))
_OF_ID = _of_id.where(~_leaving)


class Store:
    """Where everything rests. What a call stored is on disk when the call returns; a call that fails stores nothing.

    Threads may share a store, and several processes may open the same one.

        >>> with Store.open("sqlite://") as store:
        ...     maya = store.add_user("maya")
        ...     maya.interactions.add([Interaction(interaction_id="1", query="A film for tonight?")])
        1
    """

    journal: Journal
    """What was paid for, call by call."""
    keys: KeyRing
    """Who may ask a server."""
    usage: UsageLedger
    """What each API key has used, day by day."""
    idempotency: IdempotencyLog
    """What a server answered to writes."""
    people: People
    """Its users, each as a whole."""

    def __init__(self, database: Database, index: "EpisodeIndex | None" = None) -> None:
        self._database, self._index = database, index
        self.most_bytes_of_user: int | None = None
        """What handles of users let each of them store from now on; None is no limit."""
        self.journal = Journal(database)
        self.keys = KeyRing(database, _add)
        self.usage = UsageLedger(database)
        self.idempotency = IdempotencyLog(database)
        self.people = People(database, index, _add)

    @classmethod
    def open(cls, url: str | Path, *, index: "EpisodeIndex | None" = None) -> Self:
        """Open a store, make it if it is not there, bring an older one up to date, and register its tasks.

        Args:
            url: A `Path` is a SQLite file. A text is a URL: `sqlite://` keeps everything in memory, `sqlite:///FILE` in
                a file, `postgresql://USER@HOST/NAME` on a server, for which `personaagent[postgres]` is installed.
            index: Finds episodes by meaning; without one, users have no `memory`.

        Raises:
            SetupError: The store was written by a newer release, is something else, or has no driver here.
            StorageError: It cannot be read or written.
        """
        database = Database(url)
        try:
            migrate(database)
            store = cls(database, index)
            for task in store.tasks():
                register(task)
        except BaseException:
            database.close()
            raise
        return store

    def user(self, user_id: str) -> User:
        """Return the handle of a user.

        Raises:
            UnknownUserError: Nobody of this id is stored.
        """
        check_id("user id", user_id)
        if not self._database.fetch(_OF_ID, {"user_id": user_id}):
            raise UnknownUserError(user_id)
        return self._handle(user_id)

    def former_user(self, user_id: str) -> User:
        """Return the handle of a user of whom nothing need be stored any more.

        Raises:
            InputError: The id is empty, too long or unprintable.
        """
        return self._handle(check_id("user id", user_id))

    def add_user(self, user_id: str) -> User:
        """Return the handle of a user, who is stored if new.

        Raises:
            InputError: The id is empty, too long or unprintable.
            ErasedUserError: Rows of an earlier user of this id are still to be erased.
            StorageError: The disk is full or refuses to write.
        """
        check_id("user id", user_id)
        with self._database.write() as connection:
            _add(connection, user_id)
        return self._handle(user_id)

    def users(self) -> tuple[User, ...]:
        """Return the handles of all users, in the order in which they were stored."""
        with self._database.read() as connection:
            ids = connection.scalars(select(_table.c.user_id).order_by(_table.c.ordinal)).all()
        return tuple(self._handle(user_id) for user_id in ids)

    def ingest(self, histories: Mapping[str, Sequence[Interaction]]) -> int:
        """Add to the interactions of several users, new ones included: everything, or on any error nothing at all.

        Args:
            histories: By user id, what `InteractionLog.add` takes.

        Returns:
            How many interactions were newly stored.

        Raises:
            InputError: As `add_user` and `InteractionLog.add`.
            StorageError: The disk is full or refuses to write.
        """
        handles = {check_id("user id", user_id): self._handle(user_id) for user_id in histories}
        with self._database.write() as connection:
            for user_id in histories:
                _add(connection, user_id)
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
            StorageError: The disk is full or refuses to write.
        """
        check_id("task name", task.name)
        stored = {one.name: one for one in self.tasks()}
        with self._database.write() as connection:
            connection.execute(delete(_tasks).where(_tasks.c.name == task.name))
            connection.execute(insert(_tasks).values(name=task.name, noun=written(task)))
            register(task)
        if self._index is not None and task.template != stored.get(task.name, OPEN).template:
            self._index.rebuild()  # What interactions of this task are about is embedded, and is something else now.

    def tasks(self) -> tuple[Task, ...]:
        """Return the tasks that were added, by name."""
        with self._database.read() as connection:
            return tuple(read(Task, text) for text in connection.scalars(select(_tasks.c.noun).order_by(_tasks.c.name)))

    def rebuild_index(self) -> int:
        """Make the index of episodes anew from what is stored, whatever state it is in; return the number of users.

        Raises:
            SetupError: The store was opened without an index.
            StorageError: The index cannot be written.
        """
        users = self.users()
        if self._index is not None:
            self._index.rebuild()
        for user in users:
            user.memory.rebuild()
        return len(users)

    def alone(self, name: str) -> AbstractContextManager[None]:
        """Let one process at a time do what goes by a name: others wait until it is done, or its process is gone.

        Raises:
            SetupError: The store is in SQLite, which several machines cannot share.
            StorageError: The server cannot be reached.
        """
        return self._database.alone(name)

    def kept(self, name: str) -> AbstractContextManager[object]:
        """Have a name while the block runs, as `alone` does, and again whenever the server that gave it was away."""
        return self._database.kept(name)

    def is_held(self, name: str) -> bool:
        """Return whether some process does what goes by a name; raises what `alone` raises."""
        return self._database.is_held(name)

    def check_room(self) -> None:
        """Go on, unless the disk is full, or nearly.

        Raises:
            FullError: It is.
        """
        self._database.room.check()

    def use_reserve(self) -> None:
        """Make room for an erasure or a start if the disk is full; see `Room.use_reserve`."""
        self._database.room.use_reserve()

    def ping(self) -> None:
        """Read something, and look whether there is room to write.

        Raises:
            StorageError: The database cannot be read, or there is none.
        """
        self.check_room()
        with self._database.read() as connection:
            connection.scalar(select(_table.c.ordinal).limit(1))

    def close(self) -> None:
        """Let go of the database. The index, which was passed in, stays open."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _handle(self, user_id: str) -> User:
        return User(user_id, self._database, self._index, self.most_bytes_of_user)


def _add(connection: Connection, user_id: str) -> None:
    if is_leaving(connection, user_key(user_id)):
        raise ErasedUserError(user_id)
    if connection.scalar(_of_id, {"user_id": user_id}) is None:
        row = {"key": user_key(user_id), "user_id": user_id, "ordinal": next_number(connection, _table.c.ordinal)}
        connection.execute(insert(_table).values(row))
