"""What methods work with: the task, an embedder, a store of their own, the LMs of roles, and answer weights."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Self

import dspy
import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from ..certificates import read_certificate
from ..data.answer_weights import AnswerWeights, Distribution
from ..data.change import Certificate, ChangeKind
from ..data.lamp import LampUser
from ..data.memory.embedder import Embedder, is_unknown
from ..data.store import Store, User
from ..data.task import Task, is_built_in, register
from ..programs.module import model_here
from ..settings import Settings

if TYPE_CHECKING:
    from .answering import MethodJob

LmOf = Callable[[str], dspy.LM | None]
"""Gives the LM of a role, `loss` or `revision`; None is the LM of the context."""


class Resources:
    """Everything that one method of one evaluation needs beside its options; what is not used is not opened.

    Example:
        >>> with Resources(task) as resources:
        ...     program = await RagMethod(k=8).prepare(user, resources)
    """

    def __init__(self, task: Task, settings: Settings | None = None, lm_of: LmOf = lambda _role: None) -> None:
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

    def adopt(self, job: "MethodJob") -> None:
        """Take over what was found out before the first question."""
        self.weights, self.base_rates, self.certified = job.weights, job.base_rates, job.certified

    @cached_property
    def embedder(self) -> Embedder:
        """The embedder of the settings; a text that several methods want is embedded once."""
        from ..lms import open_embedder

        return CachedEmbedder(open_embedder(self._settings.embedder))

    @cached_property
    def store(self) -> Store:
        """A store for the users of this evaluation, gone when the resources are closed: never one of real users."""
        from ..home import scratch_store

        return self._opened.enter_context(scratch_store(self._settings))

    def stored(self, user: LampUser) -> User:
        """Store a user with the history, and return the handle."""
        handle = self.store.add_user(user.user_id)
        handle.interactions.add(user.history)
        return handle

    def certificate(self, form: str) -> Certificate | None:
        """Return the settings' certificate, if there is one and it is for this LM, task and form."""
        if self._settings.certificate is None:
            return None
        found = read_certificate(self._settings.certificate)
        suits = (found.lm, found.task, found.form) == (model_here(), self.task.name, form)
        return found if suits else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()


_vectors: LRUCache[tuple[str, str], NDArray[np.float32]] = LRUCache(50_000)  # of 384 numbers each, 77 MB
_lock = Lock()


class CachedEmbedder:
    """Embeds a text once for all methods of this process, which all look at the same histories."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @property
    def fingerprint(self) -> str:
        """That of the embedder."""
        return self._embedder.fingerprint

    @property
    def dimensions(self) -> int:
        """Those of the embedder."""
        return self._embedder.dimensions

    def unknown_share(self, text: str) -> float:
        """Return 1 if the embedder has no words for most of a text, else 0."""
        return float(is_unknown(self._embedder, text))

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one vector per text, in order, of length 1: shape (number of texts, dimensions)."""
        name = self.fingerprint
        with _lock:
            vectors = {text: _vectors[name, text] for text in texts if (name, text) in _vectors}
        new = [text for text in dict.fromkeys(texts) if text not in vectors]
        made = dict(zip(new, self._embedder.embed(new), strict=True)) if new else {}
        with _lock:
            _vectors.update({(name, text): vector for text, vector in made.items()})
        vectors |= made
        return np.stack([vectors[text] for text in texts]) if texts else self._embedder.embed([])
