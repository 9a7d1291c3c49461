"""A home folder: where one installation keeps its store, its index and MLflow's database."""

import logging
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import TYPE_CHECKING, Self

from .data.errors import HomeLockedError, SetupError, TrackingError, UnknownUserError
from .data.files import private_folder
from .data.store import Store, User
from .data.store.engines import address_of
from .erasure import finish_erasures
from .settings import Settings

if TYPE_CHECKING:
    import dspy

    from .certificates import Certificates
    from .data.alignment import Alignment
    from .data.history.columns import Columns
    from .data.history.files import Source
    from .data.memory.embedder import Embedder
    from .data.persona import PersonaVersion
    from .data.task import Task
    from .journal import OpenRun
    from .journal.budget import Budget
    from .optimizers import PersonaAlignment
    from .optimizers.tracking import Erased, PersonaTracker
    from .programs import PersonaAgent
    from .programs.tools.own import OwnTool
    from .telling import Told

_FILES = {"sqlite", "file"}
_MIRRORED_AT_ONCE = 16
_log = logging.getLogger(__name__)


class Home:
    """A home folder. The first process that opens it owns the files of the index; others are its guests meanwhile.

    A guest sees and stores the same. It has the index in memory, made from the store as it is needed. What it stores
    the owner indexes; whom it erases the owner removes from the files. See `is_shared` for a home without an owner.

    Args:
        settings: Where things are; by default from the environment.
        embedder: By default that of the settings. A `dspy.Embedder` will do.
        tools: Functions, or `dspy.Tool`s, that agents may use for answers in text; see `own_tools`. Alignments simulate
            without them.
        guest: Whether to be a guest if another process has the folder open.

    Raises:
        HomeLockedError: Another process has the folder open, and this one would be no guest.
        InputError: A tool or the embedder cannot be used.
        SetupError: A model file, the store or what is shared is not as it must be.
        TrackingError: (By `sync` and `erase_mirrored`.) MLflow could not be reached.

    Example:
        >>> with Home(Settings(home=Path("demo"))) as home, home.run(budget=Budget(max_calls=100)):
        ...     home.ingest(Path("maya.csv"), user="maya")
        ...     user = home.store.user("maya")
        ...     alignment, versions = home.align(user, PersonaAlignment(n=3))
        ...     home.agent(user)(query="...").response
    """

    def __init__(
        self,
        settings: Settings | None = None,
        embedder: "Embedder | dspy.Embedder | None" = None,
        *,
        tools: "Sequence[OwnTool]" = (),
        guest: bool = True,
    ) -> None:
        self.settings = settings or Settings()
        self.tools: tuple[dspy.Tool, ...] = ()
        """What agents may use beside the user's own memory."""
        if tools:  # Without tools, a home is open before DSPy is imported.
            from .programs.tools.own import own_tools

            self.tools = own_tools(tools)
        self.folder = self.settings.home.resolve()
        self._mirroring = [Lock() for _ in range(_MIRRORED_AT_ONCE)]
        with ExitStack() as opening:
            private_folder(self.folder)
            self._is_shared = is_shared(self.settings)
            self.is_guest = not (self._is_shared or _is_first(self.folder, opening))
            if self.is_guest and not guest:
                raise HomeLockedError(
                    f"home folder {self.folder} is open in another process: wait for it, or choose another with --home"
                )
            index_folder = None if self.is_guest else self.folder / "chroma"
            self.store = opening.enter_context(open_store(self.folder, self.settings, embedder, index_folder))
            if not self.is_guest:
                self.store.database.disk.use_reserve()
                finish_erasures(self, elsewhere=False)
            self._closing = opening.pop_all()

    def close(self) -> None:
        """Close the store and let the next process in."""
        self._closing.close()

    def __enter__(self) -> Self:
        """Return the home itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    @contextmanager
    def run(
        self,
        name: str = "python",
        *,
        user: User | None = None,
        run_id: str | None = None,
        budget: "Budget | None" = None,
    ) -> "Generator[OpenRun]":
        """Ask the LMs of the settings for what is done inside; every call is journalled in the store.

        Args:
            name: What is done, as the ledger shows it.
            user: For whom all of it is done. Programs and alignments say so themselves; what another optimizer asks
                about a user is erased with the user only if the run is for that user.
            run_id: The run to take up again, or a name for a new one.
            budget: What it may spend.

        Raises:
            StoppedError: The budget did not allow all of it; the message says how to go on.
        """
        from .journal import new_run, open_run, role_lms
        from .programs.scope import within

        lms, price, journal = role_lms(self.settings), self.settings.price, self.store.journal.of_stored()
        opened = open_run(journal, new_run(name, run_id=run_id), lms, budget=budget, price=price)
        with opened as run, within(user_key=user and user.key):
            yield run

    def ingest(
        self,
        source: "Source",
        *,
        user: str | None = None,
        task: "Task | None" = None,
        columns: "Columns | None" = None,
        labels: bool = False,
    ) -> int:
        """Store a history, or on any error nothing of it, and return how many interactions are new.

        Args:
            source: A file, an export, a dataset on the hub, or rows in memory; see `read_history`, as for the rest.
            user: Whose interactions these are.
            task: What a row asks that names no task, by default told from the answers; one of your own is stored too.
            columns: The columns that say what.
            labels: Whether few short answers in words are the labels of a task.
        """
        from .data.history import read_history
        from .data.history.columns import Columns
        from .data.task import is_built_in, register

        if task is not None:
            register(task)
        read = read_history(source, user=user, task=task, columns=columns or Columns(), labels=labels)
        if not is_built_in(read.task.name):
            self.store.add_task(read.task)
        return self.store.ingest(read.by_user)

    def agent(self, user: User, task: "Task | None" = None) -> "PersonaAgent":
        """Return the program that answers `task`, by default the latest, under the user's live persona.

        A user who has no persona yet gets the first.
        """
        from .personas import live_persona, program

        return program(user, live_persona(user), task, tools=self.tools)

    def align(
        self, user: User, optimizer: "PersonaAlignment", alignment_id: str | None = None
    ) -> "tuple[Alignment, tuple[PersonaVersion, ...]]":
        """Align a user's live persona, record the result and mirror it; see `personaagent.personas.align`."""
        from .personas import align
        from .progress import following

        certificates = self.certificates_of(self.settings.certificate)
        with following(optimizer) as followed:
            aligned = align(user, followed, alignment_id, certificates=certificates)
        self.mirror(user)
        return aligned

    def adopt(self, user: User, program: "PersonaAgent", origin: str = "another optimizer") -> "PersonaVersion":
        """Make what another DSPy optimizer wrote into a user's program the user's live persona, and mirror it.

        Kept are instructions, demos and decision weights, never an LM or a key. Programs of the same task answer with
        them from now on; alignments add lines after the instructions. Another user's program is refused.

        Example:
            >>> with home.run(user=user) as run:
            ...     gepa = dspy.GEPA(metric, max_metric_calls=40, reflection_lm=run.lm("revision"))
            ...     better = gepa.compile(home.agent(user), trainset=trainset)
            >>> home.adopt(user, better, "GEPA")
        """
        from .personas import adopt

        version = adopt(user, program, origin)
        self.mirror(user)
        return version

    def tell(self, user: User, text: str, *, replace: str | None = None, also: bool = False) -> "Told":
        """Make what a user states a line of the persona at once, and mirror it; see `personaagent.telling.tell`."""
        from .telling import tell

        told = tell(user, text, replace=replace, also=also)
        self.mirror(user)
        return told

    def forget(self, user: User, interaction_id: str) -> "PersonaVersion | None":
        """Forget an interaction with all that only it caused, and mirror it; see `personaagent.forgetting.forget`."""
        from .forgetting import forget

        return self._with_mirrored(user, forget(user, interaction_id))

    def untell(self, user: User, statement_id: str) -> "PersonaVersion | None":
        """Delete something that the user stated, and mirror it; see `personaagent.forgetting.untell`."""
        from .forgetting import untell

        return self._with_mirrored(user, untell(user, statement_id))

    def _with_mirrored(self, user: User, version: "PersonaVersion | None") -> "PersonaVersion | None":
        if version is not None:
            self.mirror(user)
        return version

    def mirror(self, user: User) -> bool:
        """Mirror a user's personas to MLflow; return False, and say so in the log, if MLflow could not be reached."""
        try:
            self.sync(user)
        except TrackingError as error:
            _log.warning("%s", error)
            return False
        return True

    def sync(self, user: User) -> int:
        """Mirror what MLflow does not have yet of a user; return the number of versions."""
        from .personas import program

        with self._alone_in_mlflow(user.key):
            try:
                self.store.user(user.user_id)
            except UnknownUserError:
                return 0  # Erased meanwhile: no copy comes back.
            return self.tracker.mirror(user, lambda version: program(user, version))

    def erase_mirrored(self, user_key: str) -> "Erased":
        """Erase what is mirrored of a user, after what is being mirrored."""
        with self._alone_in_mlflow(user_key):
            return self.tracker.erase(user_key)

    @contextmanager
    def _alone_in_mlflow(self, user_key: str) -> Generator[None]:
        """Let no other thread or process mirror or erase this user's personas meanwhile."""
        from filelock import FileLock

        name = f"mirror of {user_key}"
        elsewhere = self.store.database.alone(name) if self._is_shared else FileLock(self.folder / "mirror.lock")
        with self._mirroring[int(user_key, 16) % _MIRRORED_AT_ONCE], elsewhere:
            yield

    def certificates_of(self, file: Path | None, *, fit_once: bool = False) -> "Certificates":
        """Return what says which changes go live at once: a file before the package's, and this store's users."""
        from .certificates import Certificates

        return Certificates(self.store, [file] if file else (), fit_once=fit_once)

    @property
    def tracker(self) -> "PersonaTracker":
        """What mirrors personas to MLflow."""
        from .optimizers.tracking import PersonaTracker

        return PersonaTracker(*self.settings.mlflow)

    @property
    def tracking_uri(self) -> str:
        """MLflow's URI."""
        return self.settings.mlflow[0]


def is_shared(settings: Settings) -> bool:
    """Return whether several processes, on one machine or many, may open a home with these settings at once.

    They may if the store is in PostgreSQL and the index on a Chroma server. MLflow must not be a file then, either; a
    PostgreSQL database will do for processes that see the same home folder, where its artifacts are.
    """
    if settings.chroma is None or settings.database is None:
        return False
    if address_of(settings.database).get_backend_name() != "postgresql":
        return False
    scheme, has_scheme, _ = (settings.tracking_uri or "").partition("://")
    if not has_scheme or scheme.partition("+")[0] in _FILES:
        raise SetupError(
            "several processes may share this store and this index, and MLflow in a file is for one: set "
            "PERSONAAGENT_TRACKING_URI to the URL of an MLflow server"
        )
    return True


@contextmanager
def open_store(
    folder: Path,
    settings: Settings,
    embedder: "Embedder | dspy.Embedder | None" = None,
    index_folder: Path | None = None,
) -> Generator[Store]:
    """Open a store in `folder`, and its index in `index_folder` or in memory, or both where the settings say."""
    from .data.memory.chroma_index import EpisodeIndex
    from .lms import open_embedder
    from .lms.opening import as_embedder

    opened = open_embedder(settings.embedder) if embedder is None else as_embedder(embedder)
    with (
        EpisodeIndex(settings.chroma or index_folder, opened) as index,
        Store.open(settings.database or folder / "store.db", index=index) as store,
    ):
        yield store


def open_journal_store(settings: Settings) -> Store:
    """Open the store of a home folder without its index: other processes may have the folder open."""
    settings.home.mkdir(parents=True, exist_ok=True)
    return Store.open(settings.database or settings.home / "store.db")


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
    copied = {interaction.interaction_id for interaction in history}
    for statement in user.statements.current():
        if copied.issuperset(statement.evidence):
            copy.statements.add(statement)
    if base is not None:
        copy.personas.add(base.persona, reason=base.reason, status="live")
    return copy


def _is_first(folder: Path, opening: ExitStack) -> bool:
    """Return whether no other process has a folder open, and keep it open until `opening` is closed."""
    from filelock import FileLock, Timeout

    try:
        opening.enter_context(FileLock(folder / "home.lock").acquire(timeout=0))
    except Timeout:
        return False
    return True
