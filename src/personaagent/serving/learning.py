"""Learning while answering: alignments in the background, one at a time for each user."""

import asyncio
import logging
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..data.alignment import Job
from ..data.errors import ErasedUserError, LimitError, PersonaAgentError, StorageError, UnknownNameError
from ..data.store import User
from ..journal import LOSS, REVISION, OpenRun
from ..journal.budget import paid_by
from ..optimizers import PersonaAlignment
from .due import AlignmentPolicy, EveryN
from .idempotency import claim_here, new_id
from .limits import Limiter
from .others import Others, is_alive
from .problems import explained
from .turns import Turns

if TYPE_CHECKING:
    from ..certificates import Certificates
    from ..data.api_key import ApiKey
    from .access import Caller
    from .configuration import Serving

MOST_OPEN = 4
"""Alignments of one user that may wait or go on at once, if they were asked for."""

_LOOK_SECONDS = 0.5
"""How often a process looks whether an alignment of its own may begin, or was cancelled by another."""
_LOOKS = 20
"""How often the other looks whether it has ended."""
_LATER_SECONDS = 30
"""When an alignment that finds too many others may be asked for again."""

_MIRRORED_AT_ONCE = 2
"""In threads that do nothing else: when MLflow hangs, only they wait for it."""
_SETTLES_AGAIN_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Learner:
    """Begins, follows and ends the alignments of one process.

    Args:
        run: The run that pays.
        serving: How many at once, with how large a batch, how often.
        mirror: Copies a user's new persona versions elsewhere.
        others: The other processes of this server.
        limiter: Says what the key may use for which an alignment is made.
        certificates: Say which changes go live at once.
        policy: When a user is aligned without being asked; by default as `serving` says.
    """

    def __init__(
        self,
        run: OpenRun,
        serving: "Serving",
        mirror: Callable[[User], object],
        others: Others,
        limiter: Limiter,
        certificates: "Certificates | None" = None,
        policy: AlignmentPolicy | None = None,
    ) -> None:
        self._run, self._serving, self._mirror, self._others = run, serving, mirror, others
        self._limiter, self._certificates = limiter, certificates
        self._policy = policy or EveryN(serving.align_every)
        self._turns = Turns(serving.alignments_at_once)
        self._mirroring = ThreadPoolExecutor(_MIRRORED_AT_ONCE, thread_name_prefix="mirror")
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._taking = threading.Lock()

    async def notice(self, caller: "Caller") -> Job | None:
        """Begin an alignment if one is due, since the user has said something new, and the caller's key can pay."""
        if self._is_busy(caller.user):
            return None
        job = await asyncio.to_thread(self._new_if_due, caller)
        return job and self._begun(caller, job)

    async def begin(self, caller: "Caller", reason: str, n: int | None = None, iterations: int = 1) -> Job:
        """Begin an alignment, which waits until the user's earlier ones are over, here and elsewhere; return it.

        Raises:
            LimitError: As many as may be (`MOST_OPEN`) wait or go on already.
        """
        claim = claim_here()
        if claim is not None and claim.was_begun:
            known = {job.job_id: job for job in await asyncio.to_thread(caller.user.jobs.all)}
            if new_id(16) in known:
                return known[new_id(16)]
        return self._begun(caller, await asyncio.to_thread(self._new_if_room, caller, reason, n, iterations))

    def _new_if_due(self, caller: "Caller") -> Job | None:
        # What one process begins here, another sees when its turn comes: so it is paid once.
        with self._others.alone(f"what is due for {caller.user.key}"):
            reason = self._policy.due(caller.user)
            return None if reason is None or not self._can_pay(caller.key) else self._new(caller, reason)

    def _can_pay(self, key: "ApiKey") -> bool:
        try:
            self._limiter.check(key)
        except LimitError:
            return False
        return True

    def _new_if_room(self, caller: "Caller", reason: str, n: int | None, iterations: int) -> Job:
        with self._turn_of(caller.user):
            under_way = [job for job in caller.user.jobs.all() if not job.is_over and self._may_go_on(job)]
            if len(under_way) >= MOST_OPEN:
                detail = f"{len(under_way)} alignments of this user wait or are under way: cancel one, or wait for one"
                raise LimitError(_LATER_SECONDS, detail)
            return self._new(caller, reason, n, iterations)

    def _may_go_on(self, job: Job) -> bool:
        return job.worker == self._run.run_id or is_alive(self._others, job.worker)

    def _new(self, caller: "Caller", reason: str, n: int | None = None, iterations: int = 1) -> Job:
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

    def _begun(self, caller: "Caller", job: Job) -> Job:
        user, name = caller.user, (caller.user.key, job.job_id)
        with paid_by(self._limiter.payer(caller.key)):
            self._tasks[name] = task = asyncio.create_task(self._align(user, job))
        task.add_done_callback(lambda _task: self._tasks.pop(name, None))
        if not self._serving.alone:
            heeding = asyncio.create_task(self._heed(user, job, task))
            task.add_done_callback(lambda _task: heeding.cancel())
        return job

    async def _heed(self, user: User, job: Job, task: "asyncio.Task[None]") -> None:
        """End an alignment of this process when another was told to cancel it."""
        while not await asyncio.to_thread(_is_to_end, user, job):  # noqa: ASYNC110 - only the store can tell
            await asyncio.sleep(_LOOK_SECONDS)
        task.cancel()

    async def cancel(self, user: User, job: Job) -> Job:
        """End an alignment before its time, whichever process does it, and return it as it stands then."""
        if (task := self._tasks.get((user.key, job.job_id))) is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return await asyncio.to_thread(user.jobs.get, job.job_id)
        await asyncio.to_thread(self._ask_to_end, user, job)
        for _ in range(_LOOKS):
            await asyncio.sleep(_LOOK_SECONDS)
            if (job := await asyncio.to_thread(user.jobs.get, job.job_id)).is_over:
                break
        return job

    def does(self, user: User, job: Job) -> bool:
        """Whether a job is under way in this process."""
        return (user.key, job.job_id) in self._tasks

    def is_under_way(self, user: User, job: Job) -> bool:
        """Whether a job is under way in this process, or in another that is alive."""
        return self.does(user, job) or is_alive(self._others, job.worker)

    async def stop(self, user: User | None = None) -> None:
        """End the alignments of a user, whichever process does them, or all that this process does."""
        if user is not None:
            open_ones = [job for job in await asyncio.to_thread(user.jobs.all) if not job.is_over]
            elsewhere = [job for job in open_ones if not self.does(user, job)]
            for job in elsewhere:
                if await asyncio.to_thread(self.is_under_way, user, job):
                    await self.cancel(user, job)
        tasks = [task for (key, _), task in self._tasks.items() if user is None or key == user.key]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _is_busy(self, user: User) -> bool:
        return any(key == user.key for key, _ in self._tasks)

    async def _align(self, user: User, job: Job) -> None:
        try:
            while (ended := await self._aligned_in_turn(user, job)) is None:  # noqa: ASYNC110 - others are in the store
                await asyncio.sleep(_LOOK_SECONDS)
            await asyncio.get_running_loop().run_in_executor(self._mirroring, self._mirror, user)
        except asyncio.CancelledError:
            self._settle_cancelled(user, job)
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of work that no request waits for
            _log.warning("user %s: alignment %s: %s", user.key, job.job_id, type(error).__name__)
            await self._settle_when_possible(user, _ended(job, "failed", _why(error)))
        else:
            _log.info("user %s: alignment %s made version %s", user.key, job.job_id, ended.version)

    async def _aligned_in_turn(self, user: User, job: Job) -> Job | None:
        """Align, and return how it ended; None if it is not this job's turn yet."""
        async with self._turns.turn(user.key, most=1):
            if await asyncio.to_thread(_is_to_end, user, job):
                raise asyncio.CancelledError
            running = await asyncio.to_thread(self._take_turn, user, job)
            return running and await self._aligned(user, running)

    def _take_turn(self, user: User, job: Job) -> Job | None:
        """Store that a job runs, unless another of the user's does or should before it."""
        with self._turn_of(user):
            if _is_to_end(user, job):
                return None
            for other in user.jobs.all():
                is_before = other.state != "waiting" or _place(other) < _place(job)
                if other.job_id != job.job_id and not other.is_over and is_before and self.is_under_way(user, other):
                    return None
            return user.jobs.put(job.model_copy(update={"state": "running"}))

    def _ask_to_end(self, user: User, job: Job) -> None:
        """Store that a job is to end, unless it has ended meanwhile: the process that does it looks there."""
        with self._turn_of(user):
            if not (job := user.jobs.get(job.job_id)).is_over:
                user.jobs.put(job.model_copy(update={"state": "cancelling"}))

    def _settle(self, user: User, ended: Job) -> Job:
        """Store how a job ended, which nobody may write over; one that is gone with its user stays so."""
        with self._turn_of(user), suppress(UnknownNameError, ErasedUserError):
            user.jobs.get(ended.job_id)
            user.jobs.put(ended)
        return ended

    def _settle_cancelled(self, user: User, job: Job) -> None:
        try:
            self._settle(user, _ended(job, "cancelled", "it was cancelled, or the server was stopped"))
        except StorageError as error:  # Whoever looks at it finds that this process does it no more.
            _log.warning("user %s: alignment %s: cancelled, and not noted: %s", user.key, job.job_id, type(error))

    async def _settle_when_possible(self, user: User, ended: Job) -> Job:
        """Settle a job; where the store is away, once it is back."""
        while True:
            try:
                return await asyncio.to_thread(self._settle, user, ended)
            except StorageError:
                await asyncio.sleep(_SETTLES_AGAIN_SECONDS)

    @contextmanager
    def _turn_of(self, user: User) -> Generator[None]:
        """Let nobody else change the states of the user's jobs, neither here nor in another process."""
        with self._taking, self._others.alone(f"alignments of {user.key}"):
            yield

    async def _aligned(self, user: User, job: Job) -> Job:
        from ..personas import aalign

        optimizer = PersonaAlignment(
            mode="paper" if self._serving.agent.preset == "paper" else "evidence",
            n=job.n,
            iterations=job.iterations,
            loss_lm=self._run.lm(LOSS),
            revision_lm=self._run.lm(REVISION),
        )
        with self._run.inside():
            alignment, versions = await aalign(user, optimizer, job.job_id, self._serving.agent, self._certificates)
        live = next((one.number for one in versions if one.status == "live"), None)
        done = _ended(job, "finished", alignment.stopped or job.reason).model_copy(
            update={"alignment_id": alignment.alignment_id, "version": live, "losses": len(alignment.losses)}
        )
        return await self._settle_when_possible(user, done)


def _place(job: Job) -> tuple[datetime, str]:
    """Return what tells the order of jobs."""
    return job.started_at, job.job_id


def _is_to_end(user: User, job: Job) -> bool:
    """Return whether nobody wants a job any more: it was cancelled, taken for lost, or is gone with its user."""
    try:
        return user.jobs.get(job.job_id).state in {"cancelling", "interrupted"}
    except UnknownNameError:
        return True
    except StorageError:  # It cannot be asked now: that says nothing of the user.
        return False


def _ended(job: Job, state: str, reason: str) -> Job:
    return job.model_copy(update={"state": state, "reason": reason, "ended_at": datetime.now(UTC)})


def _why(error: Exception) -> str:
    return explained(error)[1] if isinstance(error, PersonaAgentError) else f"unexpected {type(error).__name__}"
