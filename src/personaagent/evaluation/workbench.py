"""What methods work with: the task, an embedder, a store of their own, and who plays which role."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Self

from ..data.answer_weights import AnswerWeights, Distribution
from ..data.certificate import Certificate
from ..data.change import ChangeKind
from ..data.lamp import LampUser
from ..data.store import Store, User
from ..data.task import Task
from ..data.tasks import is_built_in, register
from ..settings import Settings

if TYPE_CHECKING:
    import dspy

    from ..data.memory.embedder import Embedder
    from .answering import MethodWork


class Workbench:
    """Everything that one method of one evaluation needs beside its options; what is not used is not opened.

    Args:
        task: What is asked and in which form answers come.
        settings: Name the embedder.
        lm_of: Gives the LM of a role, `loss` or `revision`; None is the LM of the context.

    Example:
        >>> with Workbench(task) as bench:
        ...     program = await RagMethod(k=8).prepare(user, bench)
    """

    def __init__(
        self,
        task: Task,
        settings: Settings | None = None,
        lm_of: "Callable[[str], dspy.LM | None]" = lambda _role: None,
    ) -> None:
        self.task, self.lm_of = task, lm_of
        self.weights: Mapping[str, AnswerWeights] = {}
        """Answer weights by user key, for a method that weighs its answers."""
        self.base_rates: Mapping[str, Distribution] = {}
        """How often the other users give each answer, by user key."""
        self.certified: frozenset[ChangeKind] = frozenset()
        """Kinds of change that go live at once."""
        if not is_built_in(task.name):
            register(task)  # On another machine of a cluster, its file was not read.
        self._settings = settings or Settings()
        self._opened = ExitStack()

    @cached_property
    def embedder(self) -> "Embedder":
        """The embedder of the settings; a text that several methods want is embedded once."""
        from ..lms import open_embedder
        from .remembering import Remembering

        return Remembering(open_embedder(self._settings.embedder))

    def learn_of(self, work: "MethodWork") -> None:
        """Take over what was found out before the first question: weights, base rates, certified kinds."""
        self.weights, self.base_rates, self.certified = work.weights, work.base_rates, work.certified

    def certificate(self, form: str) -> Certificate | None:
        """Return the settings' certificate, if there is one and it is for this LM, task and form."""
        from ..certificates import read_certificate
        from ..programs.lm_here import model_here

        if self._settings.certificate is None:
            return None
        found = read_certificate(self._settings.certificate)
        suits = (found.lm, found.task, found.form) == (model_here(), self.task.name, form)
        return found if suits else None

    @cached_property
    def store(self) -> Store:
        """A store for the users of this evaluation, gone when the bench is closed: never one of real users."""
        from ..home import scratch_store

        return self._opened.enter_context(scratch_store(self._settings))

    def stored(self, user: LampUser) -> User:
        """Store a user with the history, and return the handle."""
        handle = self.store.add_user(user.user_id)
        handle.interactions.add(user.history)
        return handle

    def __enter__(self) -> Self:
        """Return the bench itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close what was opened."""
        self._opened.close()
