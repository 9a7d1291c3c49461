"""One user answered by one method, wherever that is done: what must be known there, and what comes back."""

import asyncio
import platform
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.call import Part, Run
from ..data.errors import PersonaAgentError, SetupError
from ..data.lamp import LampUser
from ..data.store import Store, user_key
from ..journal import join_run, role_lms
from ..programs.scope import within
from ..settings import Settings
from .answering import Answering
from .events import UserPrepared
from .rows import Row
from .work import MethodWork
from .workbench import Workbench

if TYPE_CHECKING:
    import dspy

_TRAVEL = {"certificate", "embedder", "lm", "loss_lm", "revision_lm", "price", "api_base"}


@dataclass(frozen=True)
class Unit:
    """The work at one user, as it travels: no key and no password is in it."""

    work: MethodWork
    """Of one user."""
    place: tuple[str, ...]
    """The scope of the evaluation."""
    run: Run | None
    """The run that pays; None if the method asks no LM."""
    settings: Mapping[str, str | Path | None]
    """See `settings_that_travel`."""

    @property
    def user(self) -> LampUser:
        """The one user."""
        [user] = self.work.users
        return user

    @property
    def part(self) -> Part:
        """The part of the run that this is."""
        return Part(user_key=user_key(self.user.user_id), place="/".join((*self.place, self.work.method.name)))


def settings_that_travel(settings: Settings) -> dict[str, str | Path | None]:
    """Return what the settings say of LMs and embedder. Where the journal is, each machine's own environment says."""
    return settings.model_dump(include=_TRAVEL)


def answer_unit(unit: Unit) -> tuple[UserPrepared | Row, ...]:
    """Answer the user's questions one after the other; calls that are in the journal already are not made again.

    Raises:
        SetupError: This machine, which the message names, is not set up as it must be.
    """
    heard: list[UserPrepared | Row] = []
    try:
        settings = Settings().model_copy(update=unit.settings)
        with (
            within(*unit.place),
            _lms(unit, settings) as lms,
            Workbench(unit.work.task, settings, lms.get) as bench,
            ThreadPoolExecutor(1) as thread,
        ):
            bench.learn_of(unit.work)
            answering = Answering(unit.work, bench, thread)
            asyncio.run(answering.answer(unit.user, heard.append))
    except PersonaAgentError as error:
        raise SetupError(f"on {platform.node()}: {error}") from error
    return tuple(heard)


@contextmanager
def _lms(unit: Unit, settings: Settings) -> "Generator[Mapping[str, dspy.LM]]":
    """Let what is done inside ask the LMs of the run, if there is one."""
    if unit.run is None:
        yield {}
        return
    if settings.database is None:
        raise SetupError("PERSONAAGENT_DATABASE is not set: every machine of the cluster needs it, and the LMs' keys")
    with (
        Store.open(settings.database) as store,
        join_run(store.journal, unit.run, role_lms(settings), unit.part, price=settings.price) as run,
    ):
        yield run.lms
