"""Evaluating on a Ray cluster: one task of Ray's for each user of a method, and one journal in PostgreSQL for all.

A task whose node dies is done again on another: it finds in the journal what the first one paid for, and only its own
rows come back. Caps are not kept here, because no process knows what the others are about to spend.
"""

import asyncio
import logging
import platform
import socket
import sys
from collections.abc import Awaitable, Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.call import Part, Run
from ..data.errors import InputError, PersonaAgentError, ServiceError, SetupError
from ..data.lamp import LampUser
from ..data.store import Store, user_key
from ..data.store.engines import SHARING, address_of
from ..journal import join_run, role_lms
from ..journal.budget import Budget
from ..programs.scope import current_scope, within
from ..settings import Settings
from .answering import Answering, Hear, MethodWork, a_few_at_once
from .calibrating import with_weights
from .events import UserPrepared
from .rows import Row
from .workbench import Workbench

if TYPE_CHECKING:
    import dspy

    from ..data.call import Run


_RETRIES = 3
"""How often a user's work is done again because its node or process died."""
_PATIENCE_SECONDS = 10


def check_cluster_use(settings: Settings, budget: Budget, address: str | None = None) -> None:
    """Refuse what a cluster cannot do, before anything is recorded.

    Args:
        settings: Name the store.
        budget: The run's.
        address: As for `ray_engine`.

    Raises:
        InputError: The run has a cap.
        SetupError: Ray is not installed, the store is not where every machine can reach it, or there is no cluster.
    """
    if budget != Budget():
        raise InputError(
            "a Ray cluster keeps no cap: leave out --max-calls, --max-tokens, --max-usd and --deadline, or evaluate "
            "with --engine local"
        )
    if find_spec("ray") is None:
        raise SetupError("Ray is not installed: pip install 'personaagent[ray]'")
    if settings.database is None or address_of(settings.database).get_backend_name() != "postgresql":
        raise SetupError(f"the machines of a Ray cluster need one store: {SHARING}, here and on each of them")
    if address is not None and "://" not in address:
        _refuse_empty_place(address)


@contextmanager
def ray_engine(settings: Settings, run: "Run | None", address: str | None = None) -> "Generator[RayEngine]":
    """Connect to a cluster while the block runs.

    Args:
        settings: Name LMs and embedder. Keys, and where the journal is, are in the environment of each machine.
        run: The run that pays, which is open here; None if no method asks an LM.
        address: `HOST:PORT` or `ray://...`; by default what RAY_ADDRESS says, the cluster of this machine, or a new one
            on it alone.

    Raises:
        SetupError: There is no cluster at this address.
    """
    import ray

    try:
        ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise SetupError(f"Ray cannot be reached at {address or 'its usual address'}: {error}") from error
    try:
        with redirect_stdout(sys.stderr):  # Ray says on standard output that a node died, where a result is to stand.
            yield RayEngine(settings_that_travel(settings), run)
    finally:
        ray.shutdown()


class RayEngine:
    """Answers users on the cluster that this process is connected to, no more at once than it has CPUs.

    Args:
        settings: What the settings say of LMs and embedder.
        run: The run that pays.
    """

    def __init__(self, settings: dict[str, str | Path | None], run: "Run | None") -> None:
        self._settings, self._run = settings, run

    @property
    def cpus(self) -> int:
        """How many CPUs the cluster has now, at least 1."""
        import ray

        return max(1, int(ray.cluster_resources().get("CPU", 1)))

    async def answer(self, work: MethodWork, hear: Hear) -> None:
        """Answer the users, each in a task; `concurrency` is how many of them are under way.

        Raises:
            SetupError: A machine is not set up as it must be.
            ServiceError: A user's work died again and again.
        """
        import ray

        task = ray.remote(num_cpus=1, max_retries=_RETRIES)(answer_unit)
        place = current_scope().place
        with Workbench(work.task, Settings().model_copy(update=self._settings)) as bench:
            work = await with_weights(work, bench)

        async def answer(user: LampUser) -> None:
            unit = Unit(replace(work, users=(user,)), place, self._run, self._settings)
            for news in await _result(task.remote(unit)):
                hear(news)

        await a_few_at_once(work.concurrency, work.users, answer)


def _refuse_empty_place(address: str) -> None:
    """Ask whether anybody is at an address: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE_SECONDS).close()
    except (OSError, ValueError) as error:
        raise SetupError(
            f"no Ray cluster answers at {address}: give HOST:PORT as `ray start --head` says it, or leave it out"
        ) from error


async def _result(answered: Awaitable[Iterable[UserPrepared | Row]]) -> Iterable[UserPrepared | Row]:
    from ray.exceptions import RayError, RayTaskError

    try:
        return await answered
    except RayTaskError as error:
        raise error.cause from None
    except RayError as error:
        raise ServiceError(
            f"the cluster lost a user's work {_RETRIES + 1} times ({type(error).__name__}): see why its nodes or "
            "processes die, then give the same command again; what was answered is not paid twice"
        ) from error


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
