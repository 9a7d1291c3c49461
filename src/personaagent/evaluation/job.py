"""An evaluation as it can be written down and done again: which data, which methods, with what parameters."""

from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from ..data.nouns import Noun
from .methods import Constructor, Method, RagMethod, methods_named
from .rows import run_of

if TYPE_CHECKING:
    from ..data.lamp import LampData
    from ..data.store import Store
    from ..data.task import Task
    from ..settings import Settings


class EvaluationJob(Noun):
    """What `personaagent evaluate` was asked to do."""

    folder: Annotated[Path, AfterValidator(Path.resolve)]
    """Where the data lie."""
    task: str
    methods: tuple[str, ...]
    k: int = 4
    """Interactions that rag retrieves."""
    users: int | None = None
    questions: int | None = None
    seed: int = 0

    def data(self) -> "LampData":
        """Load the part of the data that is drawn."""
        from ..data.lamp import load, task_named
        from .selection import select

        whole = load(self.folder, task_named(self.task))
        return select(whole, users=self.users, questions=self.questions, seed=self.seed)

    def constructed(self, task: "Task", settings: "Settings", opened: ExitStack) -> tuple[Method, ...]:
        """Return the methods; what they need is opened for as long as `opened` is."""
        from ..home import scratch_store
        from ..lms import open_embedder
        from .personaagent_method import PersonaAgentMethod

        def dense(task: "Task") -> Method:
            return RagMethod(task, k=self.k, embedder=open_embedder(settings.embedder), name="rag-dense")

        others: dict[str, Constructor] = {
            "rag": lambda task: RagMethod(task, k=self.k),
            "rag-dense": dense,
            "personaagent": lambda task: PersonaAgentMethod(task, opened.enter_context(scratch_store(settings))),
        }
        return methods_named(self.methods, task, others)


def unfinished_run(folder: Path | None) -> str | None:
    """Return the run whose rows a folder holds, to be taken up again; None if there is none."""
    return run_of(folder) if folder is not None else None


def open_journal_store(settings: "Settings") -> "AbstractContextManager[Store]":
    """Open the store of a home folder for its journal alone: other processes may have the folder open."""
    from ..data.store import Store

    settings.home.mkdir(parents=True, exist_ok=True)
    return Store.open(settings.database or settings.home / "store.db")
