"""Methods: how each system makes the program that answers one user's questions, and the names by which they go."""

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from pydantic import ValidationError

from ..data.errors import InputError, UnknownNameError
from ..data.interaction import Interaction
from ..data.lamp import LampUser
from ..data.nouns import Noun
from ..data.store import user_key
from ..data.task import Task

if TYPE_CHECKING:
    import dspy

    from .workbench import Workbench


class Method(Protocol):
    """A system under evaluation."""

    @property
    def name(self) -> str:
        """Names it in rows and reports."""
        ...

    async def prepare(self, user: LampUser, bench: "Workbench") -> "dspy.Module":
        """Return the program that answers this user's questions, called as `program(query=...)`.

        It may know `user.history` and what the questions ask, never their ground truths. Its predictions have a
        `response` (str, or None for no answer).
        """
        ...

    async def learn(self, program: "dspy.Module", user: LampUser, bench: "Workbench") -> "dspy.Module":
        """Return the program for the next question, when one more interaction ended `user.history`."""
        ...


class ListedMethod(Noun):
    """A method that goes by a name: its fields are its options, and those that are not as usual are in the name.

    Example:
        >>> RagMethod(k=8).name
        'rag:k=8'
    """

    kind: ClassVar[str]

    @property
    def name(self) -> str:
        """The kind and the unusual options: `rag`, `rag:k=8`, `rag:k=8,retriever=dense`."""
        options = self.model_dump(exclude_defaults=True, exclude={"schema_version"})
        written = ",".join(f"{option}={value}" for option, value in options.items() if option != "schema_version")
        return f"{self.kind}:{written}" if written else self.kind

    def check(self, task: Task) -> None:
        """Refuse a task that the method cannot do, or options that do not fit it.

        Raises:
            InputError: It cannot.
        """

    @abstractmethod
    async def prepare(self, user: LampUser, bench: "Workbench") -> "dspy.Module":
        """Return the program that answers this user's questions; see `Method`."""

    async def learn(self, program: "dspy.Module", user: LampUser, bench: "Workbench") -> "dspy.Module":
        """Return a program that is prepared anew."""
        return await self.prepare(user, bench)


class WeighedMethod(ListedMethod):
    """A method whose answers to labels and ratings can be weighed with what is known of the user.

    Subclasses write `unweighed`; what is weighed is the same prompt, so arms that differ in weights alone ask the LM
    once.
    """

    weights: Literal["none", "user", "global"] = "none"
    """`user`: the user's habits and memory count; `global`: only what is true of all users, nothing of this one."""

    @property
    def form(self) -> str:
        """Names what the prompts hold: the method without its weights."""
        return self.model_copy(update={"weights": "none"}).name

    @property
    def is_weighed(self) -> bool:
        """Whether answers are weighed."""
        return self.weights != "none"

    @property
    def personal(self) -> bool:
        """Whether the weights know the user."""
        return self.weights == "user"

    @property
    def votes(self) -> bool:
        """Whether the user's memory votes."""
        return self.personal

    def check(self, task: Task) -> None:
        """Refuse weights for a task whose answers are texts.

        Raises:
            InputError: They are.
        """
        if task.kind == "text" and self.weights != "none":
            raise InputError(f"method {self.name}: {task.name} asks for text, and only labels and ratings are weighed")

    @abstractmethod
    async def unweighed(self, user: LampUser, bench: "Workbench") -> "dspy.Module":
        """Return the program whose answers are weighed."""

    async def prepare(self, user: LampUser, bench: "Workbench") -> "dspy.Module":
        """Return the program, with weights if it is to have them."""
        from ..programs.baselines.weighed import Past, WithWeights

        program = await self.unweighed(user, bench)
        weights = bench.weights.get(user_key(user.user_id))
        if weights is None:
            return program
        past = None
        if self.personal:
            past = await asyncio.to_thread(Past, user.history, bench.task, bench.embedder)
        return WithWeights(program, bench.task, weights, past)

    async def program_before(self, user: LampUser, interaction: Interaction, bench: "Workbench") -> "dspy.Module":
        """Return the program, without weights, as it would have been before an interaction of the user's history."""
        before = tuple(one for one in user.history if one.precedes(interaction))
        return await self.unweighed(replace(user, history=before), bench)


def methods_named(names: Sequence[str], task: Task) -> tuple[ListedMethod, ...]:
    """Return the methods of these names, in this order.

    Args:
        names: Names as in rows and reports: `majority`, `rag:k=8,retriever=dense`, `personaagent:without=persona`.
        task: The task that they are for.

    Raises:
        UnknownNameError: There is no such method.
        InputError: It has no such option, or cannot do this task.
    """
    methods = tuple(_method_named(name) for name in names)
    for method in methods:
        method.check(task)
    return methods


def _method_named(name: str) -> ListedMethod:
    from .listing import METHODS

    kind, _, written = name.partition(":")
    if kind not in METHODS:
        raise UnknownNameError("method", kind, list(METHODS))
    known = METHODS[kind]
    options = {option.partition("=")[0]: option.partition("=")[2] for option in written.split(",") if option}
    try:
        return known.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        option = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"method {name!r}: option {option!r}: {first['msg']}; {kind} takes {_options_of(known)}"
        ) from error


def _options_of(method: type[ListedMethod]) -> str:
    shown = [f"{option}={field.default}" for option, field in method.model_fields.items()]
    return ", ".join(shown) or "no options"
