"""Evaluating on a Ray cluster: one task of Ray's for each user of a method, and one journal in PostgreSQL for all.

A task whose node dies is done again on another, which finds in the journal what the first one paid for. Caps are not
kept here, because no process knows what the others are about to spend.
"""

import asyncio
import logging
import platform
import socket
import sys
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import dspy

from ..data.call import Part, Run
from ..data.errors import InputError, PersonaAgentError, ServiceError, SetupError, needing
from ..data.lamp import LampUser
from ..data.store import Store, user_key
from ..data.store.engines import SHARING, address_of
from ..journal import join_run, role_lms
from ..journal.budget import Budget
from ..programs.scope import current_scope, within
from ..settings import Settings
from .answering import Answering, Emit, MethodJob, UserPrepared, for_each_user
from .calibration import with_weights
from .record import Row
from .resources import Resources

_RETRIES = 3
"""How often a user's work is done again because its node or process died."""
_CONNECT_SECONDS = 10
_PORTABLE = {"certificate", "embedder", "lm", "loss_lm", "revision_lm", "price", "api_base"}


def check_cluster_use(settings: Settings, budget: Budget, address: str | None = None) -> None:
    """Refuse what a cluster cannot do, before anything is recorded.

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
    if address is None or "://" in address:
        return
    host, _, port = address.rpartition(":")
    try:  # Ray itself would try for minutes.
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise SetupError(
            f"no Ray cluster answers at {address}: give HOST:PORT as `ray start --head` says it, or leave it out"
        ) from error


@contextmanager
def ray_engine(settings: Settings, run: Run | None, address: str | None = None) -> "Generator[RayEngine]":
    """Connect to a cluster while the block runs.

    Args:
        settings: Name LMs and embedder. Keys, and where the journal is, are in the environment of each machine.
        run: The run that pays, which is open here; None if no method asks an LM.
        address: `HOST:PORT` or `ray://...`; by default what RAY_ADDRESS says, the cluster of this machine, or a new one
            on it alone.

    Raises:
        SetupError: There is no cluster at this address.
    """
    with needing("ray"):
        import ray

    try:
        ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise SetupError(f"Ray cannot be reached at {address or 'its usual address'}: {error}") from error
    try:
        with redirect_stdout(sys.stderr):  # Ray says on standard output that a node died, where a result is to stand.
            yield RayEngine(settings, run)
    finally:
        ray.shutdown()


class RayEngine:
    """Answers users on the cluster that this process is connected to, each in a task of Ray's; see `ray_engine`."""

    def __init__(self, settings: Settings, run: Run | None) -> None:
        self._settings, self._run = settings, run

    @property
    def cpus(self) -> int:
        """How many CPUs the cluster has now, at least 1."""
        import ray

        return max(1, int(ray.cluster_resources().get("CPU", 1)))

    async def answer(self, job: MethodJob, emit: Emit) -> None:
        """Answer the users, as many at once as the job says.

        Raises:
            SetupError: A machine is not set up as it must be.
            ServiceError: A user's work died again and again.
        """
        import ray
        from ray.exceptions import RayError, RayTaskError

        task = ray.remote(num_cpus=1, max_retries=_RETRIES)(answer_user)
        place = current_scope().place
        with Resources(job.task, self._settings) as resources:
            job = await with_weights(job, resources)

        async def answer(user: LampUser) -> None:
            try:
                events = await task.remote(
                    replace(job, users=(user,)), place, self._run, portable_settings(self._settings)
                )
            except RayTaskError as error:
                raise error.cause from None
            except RayError as error:
                raise ServiceError(
                    f"the cluster lost a user's work {_RETRIES + 1} times ({type(error).__name__}): see why its nodes "
                    "or processes die, then give the same command again; what was answered is not paid twice"
                ) from error
            for event in events:
                emit(event)

        await for_each_user(job.users, answer, concurrency=job.concurrency)


def portable_settings(settings: Settings) -> dict[str, str | Path | None]:
    """Return what the settings say of LMs and embedder. Where the journal is, each machine's own environment says."""
    return settings.model_dump(include=_PORTABLE)


def answer_user(
    job: MethodJob, place: tuple[str, ...], run: Run | None, portable: Mapping[str, str | Path | None]
) -> tuple[UserPrepared | Row, ...]:
    """Answer one user's questions on this machine; calls that are in the journal already are not made again.

    Args:
        job: Of this user alone. It is sent here, as the other arguments are, without any key or password.
        place: The scope of the evaluation.
        run: The run that pays; None if the method asks no LM.
        portable: From `portable_settings`.

    Raises:
        SetupError: This machine, which the message names, is not set up as it must be.
    """
    events: list[UserPrepared | Row] = []
    [user] = job.users
    part = Part(user_key=user_key(user.user_id), place="/".join((*place, job.method.name)))
    try:
        settings = Settings().model_copy(update=portable)
        with (
            within(*place),
            _lms(run, part, settings) as lms,
            Resources(job.task, settings, lms.get) as resources,
            ThreadPoolExecutor(1) as thread,
        ):
            resources.adopt(job)
            asyncio.run(Answering(job, resources, thread).answer(user, events.append))
    except PersonaAgentError as error:
        raise SetupError(f"on {platform.node()}: {error}") from error
    return tuple(events)


@contextmanager
def _lms(run: Run | None, part: Part, settings: Settings) -> Generator[Mapping[str, dspy.LM]]:
    """Open the LMs of the run, if there is one, for a part of it."""
    if run is None:
        yield {}
        return
    if settings.database is None:
        raise SetupError("PERSONAAGENT_DATABASE is not set: every machine of the cluster needs it, and the LMs' keys")
    with (
        Store.open(settings.database) as store,
        join_run(store.journal, run, role_lms(settings), part, price=settings.price) as joined,
    ):
        yield joined.lms
