"""Learning while answering: alignments in the background, one at a time for each user."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..data.alignment import Job
from ..data.errors import ErasedUserError, LimitError, PersonaAgentError, StorageError, UnknownNameError
from ..data.store import User
from ..journal import LOSS, REVISION, OpenRun
from ..journal.budget import paid_by
from ..optimizers import PersonaAlignment
from ..personas import aalign
from .answering import Caller, FairSemaphore
from .claims import new_id, was_begun_before
from .limits import Limiter
from .problems import problem_of
from .workers import Workers

if TYPE_CHECKING:
    from ..certificates import Certificates
    from .configuration import Serving

MOST_OPEN = 4
"""Alignments of one user that may wait or go on at once, if they were asked for."""

_AT_ONCE = 1
"""Alignments under way at once in this process."""
_POLL_SECONDS = 0.5
"""How often a worker looks whether an alignment of its own may begin, or was cancelled by another."""
_CANCELLATION_POLLS = 20
"""How often a request to cancel looks whether another worker has ended the alignment."""
_LATER_SECONDS = 30
"""How long to wait before asking again for an alignment when too many are open."""

_MIRRORED_AT_ONCE = 2
"""Threads that only mirror: when MLflow hangs, nothing else waits for it."""
_STORE_RETRY_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Learner:
    """Begins, follows and ends the alignments of one process. Each is a `Job` in the store, where all workers see it.

    What it is given is what `Deployment` is given; the limiter says what a key may use for its alignments.
    """

    def __init__(
        self,
        run: OpenRun,
        serving: "Serving",
        mirror: Callable[[User], object],
        workers: Workers,
        limiter: Limiter,
        certificates: "Certificates",
    ) -> None:
        self._run, self._serving, self._mirror, self._workers = run, serving, mirror, workers
        self._limiter, self._certificates = limiter, certificates
        self._slots = FairSemaphore(_AT_ONCE)
        self._mirroring = ThreadPoolExecutor(_MIRRORED_AT_ONCE, thread_name_prefix="mirror")
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def begin_if_due(self, caller: Caller) -> None:
        """Begin an alignment if the user has given enough new ground truths, and the caller's key can pay."""
        if any(key == caller.user.key for key, _ in self._tasks):
            return
        if (job := await asyncio.to_thread(self._new_job_if_due, caller)) is not None:
            self._begin(caller, job)

    async def begin(self, caller: Caller, reason: str, n: int | None = None, iterations: int = 1) -> Job:
        """Begin an alignment, which waits until the user's earlier ones are over, in any worker; return it."""
        if was_begun_before():
            with suppress(UnknownNameError):
                return await asyncio.to_thread(caller.user.jobs.get, new_id(16))
        return self._begin(caller, await asyncio.to_thread(self._new_job_if_room, caller, reason, n, iterations))

    async def cancel(self, user: User, job: Job) -> Job:
        """End an alignment before its time, in whichever worker it is, and return it as it stands then."""
        if (task := self._tasks.get((user.key, job.job_id))) is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return await asyncio.to_thread(user.jobs.get, job.job_id)
        await asyncio.to_thread(self._request_cancellation, user, job)
        for _ in range(_CANCELLATION_POLLS):
            await asyncio.sleep(_POLL_SECONDS)
            if (job := await asyncio.to_thread(user.jobs.get, job.job_id)).is_over:
                break
        return job

    async def stop(self, user: User | None = None) -> None:
        """End the alignments of a user, in whichever workers they are, or all of this worker's."""
        if user is not None:
            for job in await asyncio.to_thread(user.jobs.all):
                is_elsewhere = not (job.is_over or self.is_here(user, job))
                if is_elsewhere and await asyncio.to_thread(self._workers.is_alive, job.worker):
                    await self.cancel(user, job)
        tasks = [task for (key, _), task in self._tasks.items() if user is None or key == user.key]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def is_here(self, user: User, job: Job) -> bool:
        """Return whether a job is under way in this worker."""
        return (user.key, job.job_id) in self._tasks

    def is_under_way(self, user: User, job: Job) -> bool:
        """Return whether a job is under way in this worker, or in another that is alive."""
        return self.is_here(user, job) or self._workers.is_alive(job.worker)

    def _new_job_if_due(self, caller: Caller) -> Job | None:
        # What one request begins here, another sees when it has the lock: so it is paid once.
        with self._changing_jobs_of(caller.user):
            reason = self._why_due(caller.user)
            if reason is None:
                return None
            try:
                self._limiter.check(caller.key)
            except LimitError:
                return None
            return self._new_job(caller, reason)

    def _why_due(self, user: User) -> str | None:
        """Return why a user's persona is to be aligned now; None if it is not.

        An alignment that failed counts too: begun again, it would fail again and be paid again.
        """
        if self._serving.align_every == 0:
            return None
        new = user.interactions.known - max((job.known for job in user.jobs.all()), default=0)
        return f"{new} ground truths are new" if new >= self._serving.align_every else None

    def _new_job_if_room(self, caller: Caller, reason: str, n: int | None, iterations: int) -> Job:
        with self._changing_jobs_of(caller.user):
            under_way = [
                job
                for job in caller.user.jobs.all()
                if not job.is_over and (job.worker == self._run.run_id or self._workers.is_alive(job.worker))
            ]
            if len(under_way) >= MOST_OPEN:
                detail = f"{len(under_way)} alignments of this user wait or are under way: cancel one, or wait for one"
                raise LimitError(_LATER_SECONDS, detail)
            return self._new_job(caller, reason, n, iterations)

    def _new_job(self, caller: Caller, reason: str, n: int | None = None, iterations: int = 1) -> Job:
        job = Job(
            job_id=new_id(16),
            reason=reason,
            n=n or self._serving.n,
            iterations=iterations,
            known=caller.user.interactions.known,
            key_id=caller.key.key_id,
            worker=self._run.run_id,
            started_at=datetime.now(UTC),
        )
        return caller.user.jobs.put(job)

    def _begin(self, caller: Caller, job: Job) -> Job:
        user, name = caller.user, (caller.user.key, job.job_id)
        with paid_by(self._limiter.payer(caller.key)):
            self._tasks[name] = task = asyncio.create_task(self._align(user, job))
        task.add_done_callback(lambda _task: self._tasks.pop(name, None))
        if not self._serving.alone:
            watching = asyncio.create_task(self._cancel_when_requested(user, job, task))
            task.add_done_callback(lambda _task: watching.cancel())
        return job

    async def _align(self, user: User, job: Job) -> None:
        try:
            while (done := await self._align_if_next(user, job)) is None:  # noqa: ASYNC110 - others are in the store
                await asyncio.sleep(_POLL_SECONDS)
            await asyncio.get_running_loop().run_in_executor(self._mirroring, self._mirror, user)
        except asyncio.CancelledError:
            try:
                self._put_ended(user, ended(job, "cancelled", "it was cancelled, or the server was stopped"))
            except StorageError as error:  # Who reads the job next finds that no worker does it.
                _log.warning("user %s: alignment %s: cancelled, and not noted: %s", user.key, job.job_id, type(error))
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of work that no request waits for
            _log.warning("user %s: alignment %s: %s", user.key, job.job_id, type(error).__name__)
            await self._put_ended_when_possible(user, ended(job, "failed", _why(error)))
        else:
            _log.info("user %s: alignment %s made version %s", user.key, job.job_id, done.version)

    async def _align_if_next(self, user: User, job: Job) -> Job | None:
        """Align, and return how it ended; None if other alignments of the user come first."""
        async with self._slots.slot(user.key, most=1):
            if await asyncio.to_thread(_is_unwanted, user, job):
                raise asyncio.CancelledError
            running = await asyncio.to_thread(self._put_running_if_next, user, job)
            return running and await self._run_alignment(user, running)

    async def _run_alignment(self, user: User, job: Job) -> Job:
        optimizer = PersonaAlignment(
            mode="paper" if self._serving.agent.preset == "paper" else "evidence",
            n=job.n,
            iterations=job.iterations,
            loss_lm=self._run.lm(LOSS),
            revision_lm=self._run.lm(REVISION),
        )
        with self._run.inside():
            alignment, versions = await aalign(user, optimizer, job.job_id, self._serving.agent, self._certificates)
        live = next((version.number for version in versions if version.status == "live"), None)
        done = ended(job, "finished", alignment.stopped or job.reason).model_copy(
            update={"alignment_id": alignment.alignment_id, "version": live, "losses": len(alignment.losses)}
        )
        return await self._put_ended_when_possible(user, done)

    async def _cancel_when_requested(self, user: User, job: Job, task: "asyncio.Task[None]") -> None:
        """Cancel an alignment of this worker when another worker was asked to."""
        while not await asyncio.to_thread(_is_unwanted, user, job):  # noqa: ASYNC110 - only the store can tell
            await asyncio.sleep(_POLL_SECONDS)
        task.cancel()

    def _put_running_if_next(self, user: User, job: Job) -> Job | None:
        """Store that a job runs; None if another of the user's does, or comes before it."""
        with self._changing_jobs_of(user):
            if _is_unwanted(user, job):
                return None
            for other in user.jobs.all():
                is_before = other.state != "waiting" or _order(other) < _order(job)
                if other.job_id != job.job_id and not other.is_over and is_before and self.is_under_way(user, other):
                    return None
            return user.jobs.put(job.model_copy(update={"state": "running"}))

    def _request_cancellation(self, user: User, job: Job) -> None:
        """Store that a job is to end, for the worker that does it, unless it has ended meanwhile."""
        with self._changing_jobs_of(user):
            if not (job := user.jobs.get(job.job_id)).is_over:
                user.jobs.put(job.model_copy(update={"state": "cancelling"}))

    def _put_ended(self, user: User, job: Job) -> Job:
        """Store how a job ended; a job that was erased with its user is not stored again."""
        with self._changing_jobs_of(user), suppress(UnknownNameError, ErasedUserError):
            user.jobs.get(job.job_id)
            user.jobs.put(job)
        return job

    async def _put_ended_when_possible(self, user: User, job: Job) -> Job:
        while True:
            try:
                return await asyncio.to_thread(self._put_ended, user, job)
            except StorageError:
                await asyncio.sleep(_STORE_RETRY_SECONDS)

    def _changing_jobs_of(self, user: User) -> AbstractContextManager[None]:
        """Let no other thread and no other worker change the states of the user's jobs meanwhile."""
        return self._workers.lock(f"alignments of {user.key}")


def _order(job: Job) -> tuple[datetime, str]:
    return job.started_at, job.job_id


def _is_unwanted(user: User, job: Job) -> bool:
    """Return whether a job was cancelled, was taken for lost, or is gone with its user."""
    try:
        return user.jobs.get(job.job_id).state in {"cancelling", "interrupted"}
    except UnknownNameError:
        return True
    except StorageError:  # It cannot be asked now: that says nothing of the user.
        return False


def ended(job: Job, state: str, reason: str) -> Job:
    """Return a job as it ended just now."""
    return job.model_copy(update={"state": state, "reason": reason, "ended_at": datetime.now(UTC)})


def _why(error: Exception) -> str:
    return problem_of(error).detail if isinstance(error, PersonaAgentError) else f"unexpected {type(error).__name__}"
