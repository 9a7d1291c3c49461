"""The alignments of one user: those that were asked for, and what came of each."""

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, delete, insert, update

from ..alignment import Alignment, Job
from ..errors import InputError, UnknownNameError
from ..persona import PersonaVersion
from . import tables
from .log import UserLog, UserTable, check_id, read, written
from .personas import add_version, next_version, read_version, read_versions, recorded_alignments

_alignments, _jobs = tables.alignments, tables.jobs
ALIGNMENTS = UserTable(Alignment, _alignments, "ordinal", fields=("alignment_id",), unique=("alignment_id",))
_JOBS = UserTable(Job, _jobs, "at")


class AlignmentLog(UserLog):
    """One user's alignments, each recorded together with the persona versions that it made, or not at all.

    None is ever changed, but for what is forgotten.
    """

    def all(self) -> tuple[Alignment, ...]:
        """Return every alignment in the order in which they were recorded."""
        return self._database.nouns(Alignment, ALIGNMENTS.select(self._user_key))

    def get(self, alignment_id: str) -> Alignment:
        """Return one alignment.

        Raises:
            UnknownNameError: None of this id is recorded.
        """
        check_id("alignment id", alignment_id)
        with self._database.read() as connection:
            text = connection.scalar(ALIGNMENTS.select(self._user_key, _alignments.c.alignment_id == alignment_id))
            if text is None:
                raise UnknownNameError("alignment", alignment_id, recorded_alignments(connection, self._user_key))
        return read(Alignment, text)

    def add(self, alignment: Alignment) -> tuple[PersonaVersion, ...]:
        """Record an alignment and, in the same transaction, one persona version for each of its candidates.

        An accepted candidate is promoted; any other is rejected. The parent of each is the version that it was revised
        from: the last one accepted before it, at first the base version.

        Returns:
            The versions that were made, oldest first, with the status that they have now.

        Raises:
            UnknownNameError: Its base version is not recorded.
            InputError: An alignment of this id is recorded already, or the base version holds another persona.
        """
        alignment_id = check_id("alignment id", alignment.alignment_id)
        with self._database.write() as connection:
            _check_base(connection, self._user_key, alignment)
            if alignment_id in recorded_alignments(connection, self._user_key):
                raise InputError(f"alignment {alignment_id!r} is recorded already: give the new one its own id")
            ALIGNMENTS.append(connection, self._user_key, [alignment])
            first = next_version(connection, self._user_key)
            _add_candidates(connection, self._user_key, alignment)
            return read_versions(connection, self._user_key)[first - 1 :]

    def redact(self, redacted: Callable[[Alignment], Alignment]) -> None:
        """Replace every alignment by what `redacted` returns of it; on any error, none."""
        with self._database.write() as connection:
            nouns = connection.scalars(ALIGNMENTS.select(self._user_key)).all()
            for alignment in (read(Alignment, text) for text in nouns):
                if (changed := redacted(alignment)) != alignment:
                    this = self._is(alignment.alignment_id)
                    connection.execute(update(_alignments).where(this).values(noun=written(changed)))

    def _is(self, alignment_id: str) -> ColumnElement[bool]:
        return (_alignments.c.user_key == self._user_key) & (_alignments.c.alignment_id == alignment_id)


class JobLog(UserLog):
    """The alignments that a server was asked for, or began by itself, for one user; each as it stands."""

    def put(self, job: Job) -> Job:
        """Store a job as it stands now, in place of how it stood."""
        mine = (_jobs.c.user_key == self._user_key) & (_jobs.c.job_id == job.job_id)
        row = {
            "user_key": self._user_key,
            "job_id": job.job_id,
            "at": job.started_at.isoformat(timespec="microseconds"),
            "noun": written(job),
        }
        with self._database.write() as connection:
            connection.execute(delete(_jobs).where(mine))
            connection.execute(insert(_jobs).values(row))
        return job

    def all(self) -> tuple[Job, ...]:
        """Return every job, newest first."""
        return self._database.nouns(Job, _JOBS.select(self._user_key))[::-1]

    def get(self, job_id: str) -> Job:
        """Return one job.

        Raises:
            UnknownNameError: The user has none of this id.
        """
        jobs = {job.job_id: job for job in self.all()}
        if job_id not in jobs:
            raise UnknownNameError("alignment", job_id, list(jobs))
        return jobs[job_id]


def _check_base(connection: Connection, user_key: str, alignment: Alignment) -> None:
    if alignment.base_version is None:
        return
    base = read_version(connection, user_key, alignment.base_version)
    if base.persona.fingerprint != alignment.base.fingerprint:
        raise InputError(f"alignment {alignment.alignment_id!r}: its base is not persona version {base.number}")


def _add_candidates(connection: Connection, user_key: str, alignment: Alignment) -> None:
    parent = alignment.base_version
    for step in alignment.iterations:
        if step.candidate is None:
            continue
        version = PersonaVersion(
            number=next_version(connection, user_key),
            persona=step.candidate,
            parent=parent,
            status="live" if step.accepted else "rejected",
            alignment_id=alignment.alignment_id,
            reason=step.reason,
            at=datetime.now(UTC),
        )
        add_version(connection, user_key, version)
        parent = version.number if step.accepted else parent
